"""What the oracle tests of the models share: configurations, random weights, calls, distances."""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open
from torch import nn
from transformers.models.mobilebert import modeling_mobilebert as hf

from mobilebert_common.model import schema

Config = dict[str, Any]
Arrays = dict[str, np.ndarray]

HAS_HEAD_MASK = transformers.__version__.startswith("4.")  # 5.x takes the argument and ignores it
DEVIATION = 0.15  # of the random weights; with the usual 0.02 attention is uniform and agreement proves nothing

SIZES: Config = {
    "vocab_size": 99,
    "embedding_size": 16,
    "hidden_size": 64,
    "intra_bottleneck_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
    "num_labels": 3,
}
AXES: dict[str, tuple[Any, ...]] = {
    "use_bottleneck": (True, False),
    "use_bottleneck_attention": (False, True),
    "key_query_shared_bottleneck": (True, False),
    "normalization_type": ("no_norm", "layer_norm"),
    "trigram_input": (True, False),
    "num_feedforward_networks": (4, 1, 2),
    "classifier_activation": (True, False),
    "hidden_act": ("relu", "gelu"),
}
TEACHER: Config = {  # ib-bert-large in small: a bottleneck wider than the stream, which query and key read
    "intra_bottleneck_size": 96,
    "num_feedforward_networks": 1,
    "key_query_shared_bottleneck": False,
    "hidden_act": "gelu_new",
    "normalization_type": "layer_norm",
}
OTHERS: dict[str, Config] = {
    "teacher": TEACHER,
    "teacher-no_norm-narrow": {**TEACHER, "intra_bottleneck_size": 32, "normalization_type": "no_norm"},
    "three-layers-one-head": {"num_hidden_layers": 3, "num_attention_heads": 1},
    "embedding-as-wide-as-hidden": {"embedding_size": 64, "trigram_input": False},
    "wide-eps": {"normalization_type": "layer_norm", "layer_norm_eps": 0.1},
    "silu": {"hidden_act": "silu"},
    "tanh": {"hidden_act": "tanh"},
}
LOSSES: dict[str, tuple[Config, list[Any]]] = {  # name -> what the configuration says, labels of three sentences
    "regression": ({"num_labels": 1}, [0.5, -1.0, 2.0]),
    "regression-of-three": (
        {"num_labels": 3, "problem_type": "regression"},
        [[0.5, 1.0, 2.0], [0.0, -1.0, 0.0], [3.0, 0.0, 1.0]],
    ),
    "single-label": ({"num_labels": 3}, [2, 0, 1]),
    "single-label-ignored": ({"num_labels": 3}, [2, -100, 1]),
    "multi-label": ({"num_labels": 3}, [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]]),
}

# the labels of three sentences of eleven tokens, by head: some are to be ignored, none is where their TF would fail
TOKENS = np.where(np.arange(33).reshape(3, 11) % 3 == 0, -100, np.arange(33).reshape(3, 11) % 3)
LABELS: dict[str, dict[str, np.ndarray]] = {
    "MobileBertModel": {},
    "MobileBertForPreTraining": {"labels": np.where(TOKENS < 0, -100, TOKENS * 31), "next_sentence_label": np.array([1, 0, 1])},
    "MobileBertForMaskedLM": {"labels": np.where(TOKENS < 0, -100, TOKENS * 31)},
    "MobileBertForNextSentencePrediction": {"labels": np.array([1, 0, 1])},
    "MobileBertForSequenceClassification": {"labels": np.array([2, 0, 1])},
    "MobileBertForMultipleChoice": {"labels": np.array([1, 0, 1])},
    "MobileBertForTokenClassification": {"labels": TOKENS},
    "MobileBertForQuestionAnswering": {"start_positions": np.array([0, 10, 3]), "end_positions": np.array([4, 10, 1])},
}
CHOICES = "MobileBertForMultipleChoice"
ARCHITECTURES = [name for name in schema.ARCHITECTURES if hasattr(transformers, name)]  # a head of ours alone has no oracle
# cases for heads: what they compute hangs on the activation, the norm, the pooler and the width the embedding leaves
HEAD_CASES = ["teacher", "embedding-as-wide-as-hidden", "wide-eps", "silu", "True-False-True-no_norm-True-4-False-relu"]


def for_class(case: Config, head: str) -> Config:
    """A case as a class takes it: transformers' question answering has as many outputs as labels and needs two."""
    return {**case, "num_labels": 2} if head == "MobileBertForQuestionAnswering" else case


def for_head(call: Arrays, head: str) -> Arrays:
    """A call as a head takes it: the choices are the sentences, and the sentences in another order."""
    if head != CHOICES:
        return call
    rows = {"input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds"}
    return {
        name: np.stack([array, array[[1, 2, 0]]], axis=1) if name in rows else array for name, array in call.items()
    }


def all_cases() -> dict[str, Config]:
    """Every combination of the axes that Hugging Face can run, and the others, by name."""
    cases = {}
    for values in itertools.product(*AXES.values()):
        case = dict(zip(AXES, values, strict=True))
        if values[:3] == (True, False, False):
            case["intra_bottleneck_size"] = SIZES[
                "hidden_size"
            ]  # else HF's query and key are too narrow for what they read
        cases["-".join(str(value) for value in values)] = case
    return cases | OTHERS


CASES = all_cases()
# enough for what is slow to build: a step that divides no axis, so that all pairs of values occur
SOME = [*list(CASES)[: -len(OTHERS) : 7], *OTHERS]


def hf_config(case: Config) -> transformers.MobileBertConfig:
    """Hugging Face's configuration of a case."""
    return transformers.MobileBertConfig(**{**SIZES, **case})


def random_model(cls: type, case: Config, seed: int = 0) -> Any:
    """A Hugging Face PyTorch model whose every parameter is random; the weights of norms vary around 1."""
    model = cls._from_config(
        hf_config(case), attn_implementation="eager"
    ).eval()  # only eager attention returns attentions
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        nn.init.normal_(parameter, float(name.endswith("LayerNorm.weight")), DEVIATION, generator)
    return model


def calls(config: Mapping[str, Any] = SIZES) -> dict[str, Arrays]:
    """Arguments of a call, by what is special about them. Three sentences of eleven tokens."""
    draw = np.random.default_rng(1)
    ids = draw.integers(0, config["vocab_size"], (3, 11))
    types = draw.integers(0, 2, (3, 11))
    ragged = (np.arange(11) < [[11], [7], [1]]).astype(np.int64)
    per_query = np.maximum(draw.integers(0, 2, (3, 11, 11)), np.eye(11, dtype=np.int64))
    embeds = draw.normal(0, DEVIATION, (3, 11, config["embedding_size"])).astype(np.float32)
    return {
        "ids": {"input_ids": ids},
        "ragged": {"input_ids": ids, "attention_mask": ragged, "token_type_ids": types},
        "left-padded": {"input_ids": ids, "attention_mask": ragged[:, ::-1].copy()},
        "positions": {"input_ids": ids, "position_ids": draw.integers(0, config["max_position_embeddings"], (3, 11))},
        "embeddings": {"inputs_embeds": embeds, "attention_mask": ragged, "token_type_ids": types},
        "one-token": {"input_ids": ids[:, :1]},
        "mask-per-query": {"input_ids": ids, "attention_mask": per_query},
    }


def head_masks(config: Mapping[str, Any] = SIZES) -> dict[str, Arrays]:
    """Calls with some heads silenced or weakened, in all layers and per layer."""
    shape = (config["num_hidden_layers"], config["num_attention_heads"])
    mask = np.random.default_rng(2).choice([0.0, 0.5, 1.0], shape).astype(np.float32)
    ragged = calls(config)["ragged"]
    return {"heads": {**ragged, "head_mask": mask[0]}, "heads-per-layer": {**ragged, "head_mask": mask}}


def run(model: Any, arguments: Arrays, tensor: Callable[[Any], Any], **options: Any) -> Arrays:
    """Call a model of either framework; its output as arrays, tuples spread out as hidden_states.0 and so on."""
    output = model(**{name: tensor(array) for name, array in arguments.items()}, **options)
    found = {}
    for name, value in output.items():
        parts = (
            {f"{name}.{number}": part for number, part in enumerate(value)}
            if isinstance(value, tuple | list)
            else {name: value}
        )
        found |= {
            key: part.detach().numpy() if isinstance(part, torch.Tensor) else np.asarray(part)
            for key, part in parts.items()
        }
    return found


def tensor_for(model: nn.Module) -> Callable[[Any], torch.Tensor]:
    """Numbers as torch tensors, floating-point ones in the dtype of the model."""

    def tensor(array: Any) -> torch.Tensor:
        found = torch.as_tensor(array)
        return found.to(model.dtype) if found.is_floating_point() else found

    return tensor


def run_torch(model: nn.Module, arguments: Arrays, **options: Any) -> Arrays:
    """`run` for PyTorch, without gradients."""
    with torch.no_grad():
        return run(model, arguments, tensor_for(model), **options)


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Relative L2 distance in float64; from zeros, which silenced heads return, the absolute one."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return float(np.linalg.norm(ours - theirs) / (np.linalg.norm(theirs) or 1.0))


def assert_close(ours: Arrays, theirs: Arrays, tolerance: float) -> None:
    """The same outputs in the same order, each within a relative L2 distance."""
    assert list(ours) == list(theirs)
    assert {name: array.shape for name, array in ours.items()} == {name: array.shape for name, array in theirs.items()}
    far = {name: found for name in ours if not (found := distance(ours[name], theirs[name])) <= tolerance}
    assert not far, far


def assert_float32_close(ours: Arrays, exact: Arrays) -> None:
    """The bound on float32: outputs within 1e-4 relative, the loss within 1e-5, relative where it is above 1."""
    assert_close({**ours, "loss": exact["loss"]}, exact, 1e-4)
    assert abs(ours["loss"] - exact["loss"]) <= 1e-5 * max(1.0, exact["loss"])


def geometric_mean(ratios: list[float]) -> float:
    """exp of the mean logarithm."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def saved_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """{name: shape} of model.safetensors, read with its own library."""
    with safe_open(folder / "model.safetensors", "numpy") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (not a mapping)


def is_teacher(config: Any) -> bool:
    """Whether queries and keys read the stream of another width, which Hugging Face cannot run."""
    reads_stream = config.use_bottleneck and not (config.use_bottleneck_attention or config.key_query_shared_bottleneck)
    return reads_stream and config.hidden_size != config.true_hidden_size


def _set_eps(module: Any, config: Any) -> None:
    module.LayerNorm.eps = config.layer_norm_eps


def _widen(module: Any, config: Any) -> None:
    if is_teacher(config):
        module.query, module.key = (nn.Linear(config.hidden_size, module.all_head_size) for _ in range(2))


@contextlib.contextmanager
def repaired_pytorch() -> Iterator[None]:
    """Hugging Face forgets layer_norm_eps at two norms and gives the teacher's query and key the wrong width."""
    repairs = {hf.MobileBertEmbeddings: _set_eps, hf.MobileBertOutput: _set_eps, hf.MobileBertSelfAttention: _widen}
    with pytest.MonkeyPatch.context() as patch:
        for cls, repair in repairs.items():
            patch.setattr(cls, "__init__", after(cls.__init__, repair))
        yield


def after(init: Callable[..., None], repair: Callable[[Any, Any], None]) -> Callable[..., None]:
    """An __init__ that repairs what another one made."""

    def __init__(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        init(self, config, *args, **kwargs)
        repair(self, config)

    return __init__
