"""The twins are translations of each other: the same classes, functions, methods and attributes in the same order."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent / "src"
FILES = [
    "api", "arrays", "checks", "exports/graph", "heads", "inference", "layers",
    "losses", "model", "outputs", "predictor", "pretrained", "training", "transfer", "twin",
]

FRAMEWORK_METHODS = ("call", "forward", "build", "get_config", "from_config", "compute_", "reset_parameters")

# what only one twin needs, and why
ONLY_TORCH = {
    "Matrix.weight": "kernel in Keras",
    "_drop_copies": "a Keras model has no state_dict",
    "class TiedDecoder": "transformers' TF classes have no decoder either",
    "HeadModel.tied_table": "Keras has no FSDP",
    "initialize": "in Keras each layer has its initializer",
    "initialize_missing": "a Keras model is born with values",
    "initialize_rest": "a Keras model is born with values",
    "_is_initialized": "a Keras model is born with values",
    "MobileBertPreTrainedModel.post_init": "a Keras model is born with values",
    "MobileBertPreTrainedModel._init_weights": "in Keras each layer has its initializer",
    "resize": "a method of the layers that Keras builds late; here they are torch's own",
    "look_up": "in Keras the table itself checks the ids; here it is torch's own",
    "class WithoutValues": "a Keras model is born with values",
    "WithoutValues.__torch_function__": "a Keras model is born with values",
    "distinct": "Keras keeps a shared variable once",
    "without_wrappers": "a Keras model has no state_dict",
    "archive": "a Keras model has no state_dict",
    "one_device": "Keras places tensors itself",
    "can_read": "`concrete` in Keras",
    "is_exporting": "torch.compile cannot look into the shared one",
    "is_traced": "`concrete` in Keras",
    "_first_weight": "a Keras layer has a dtype",
    "MobileBertPreTrainedModel.base_model": "Keras walks over what an attribute returns when it saves",
    "MobileBertPreTrainedModel.dtype": "a Keras layer has one",
    "MobileBertPreTrainedModel.device": "Keras places tensors itself",
    "MobileBertPreTrainedModel.get_memory_footprint": "transformers' TF classes have none",
    "MobileBertPreTrainedModel.tie_weights": "transformers' TF classes have none",
    "MobileBertPreTrainedModel.enable_input_require_grads": "for adapters, which PEFT has for torch only",
    "MobileBertPreTrainedModel.disable_input_require_grads": "for adapters, which PEFT has for torch only",
    "MobileBertPreTrainedModel._require_grads": "for adapters, which PEFT has for torch only",
    "check_tensors": "Keras makes tensors of what it is given",
    "class AttentionBias": "fused attention adds its mask",
    "truncated_normal_": "in Keras an initializer is an object",
    "dtype_name": "a dtype is a name in Keras",
    "torch_dtype": "a dtype is a name in Keras",
    "to_tensor": "a Keras variable is assigned to",
    "make_accelerator": "Keras's fit finds its devices",
    "is_from_group": "Keras's fit has no group of processes",
    "placed_as": "Keras places tensors itself",
    "backward": "a method of Training in Keras, which fit calls",
    "autocast": "`computing` in Keras, by dtype policies",
    "adapters": "PEFT has them for torch only",
    "merged_state": "for adapters, which PEFT has for torch only",
    "Product.activated": "TensorFlow fuses it in its graph",
    "Product.added": "TensorFlow fuses it in its graph",
    "class Packed": "TensorFlow chooses oneDNN itself",
    "linear_pointwise": "TensorFlow chooses oneDNN itself",
    "class Int8": "TensorFlow has no fast int8 products",
    "packed_int8": "TensorFlow has no fast int8 products",
    "saturates": "TensorFlow has no fast int8 products",
    "choose_product": "Keras has one kind",
    "packing_gains": "TensorFlow chooses oneDNN itself",
    **dict.fromkeys(
        [f"Encoder.{name}" for name in ("product", "size", "hooks", "traces", "traced", "trace", "can_trace", "_apply", "__getstate__")],
        "Frozen.__call__ has the whole model compiled in Keras",
    ),
    "class Traced": "Frozen.__call__ has the whole model compiled in Keras",
    "Encoder.check_call": "Keras knows no gradients of a call, and no autocast",
    "Frozen.train": "Keras passes training to a call",
    "Frozen.requires_grad_": "trainable in Keras",
    "Frozen._apply": "Keras places and converts tensors itself",
    "FoldedModel.product": "Keras has one kind",
    "FoldedModel.attention_bias": "in Keras a call without a mask is compiled apart",
    "empty": "a Keras model is pickled as a file, which a folded one refuses",
}
ONLY_KERAS = {
    "MobileBertModel.__getattr__": "`mobilebert` of the base model, which transformers' TF classes have",
    "MobileBertPreTrainedModel.save_own_variables": "Keras's own files are written through it",
    "MobileBertPreTrainedModel.load_own_variables": "Keras's own files are read through it",
    "MobileBertPreTrainedModel.require_built": "torch modules are born with values",
    "MobileBertPreTrainedModel.get_lm_head": "of transformers' TF classes",
    "MobileBertPreTrainedModel.get_bias": "of transformers' TF classes",
    "MobileBertPreTrainedModel.set_bias": "of transformers' TF classes",
    "variable_of": "a state_dict has the names",
    "own_variables": "a state_dict has the names",
    "Matrix.resize": "resize in torch",
    "class LayerNorm": "torch's own, which tools look for by its exact type",
    "class Embedding": "torch's own, which tools look for by its exact type",
    "class Linear": "torch's own, which tools look for by its exact type",
    "Linear.size_in": "build comes after __init__",
    "NoNorm.size": "build comes after __init__",
    "Matrix.initializer": "initializer_range in torch",
    "Matrix.shape": "build comes after __init__",
    "Matrix.kernel": "weight in torch",
    "Predictions.size": "build comes after __init__",
    "LayerNorm.size": "build comes after __init__",
    "Embedding.padding_idx": "nn.Embedding has it",
    "Embedding._embeddings": "a resized table replaces the variable of keras.layers.Embedding",
    "Embedding.input_dim": "num_embeddings in torch",
    "MobileBertPreTrainedModel.canonical_variables": "state_dict in torch",
    "concrete": "eager and traced tensors are one type in torch",
    "assert_traced": "torch._assert_async",
    "truncated_normal": "in torch a function fills a tensor",
    "dtype_policy": "torch has none",
    "assign": "torch's load_state_dict does",
    "ids_of_build": "torch builds nothing with the mean of ids",
    "replica_loss": "DDP averages the gradients of processes",
    "canonical_shape": "a state_dict has the shape",
    "deterministic": "torch on the CPU is",
    "optimizer_places": "torch's optimizer is asked by parameter",
    "require_one_machine": "torch trains on several",
    "mirrored": "a process each in torch",
    "virtual_cpus": "a process each in torch",
    "workers": "the launcher counts them in torch",
    "class Training": "fit takes a model, the loop in torch calls `backward`",
    "computing": "torch.autocast",
    "class AdamW": "torch has it",
    "class Lamb": "a file of its own in torch, lamb.py, which has no twin; here it shares the machinery of AdamW",
    "normalized": "torch.nn.functional.layer_norm",
    "dropout_rates": "a module of its own everywhere in torch",
    "whole": "torch's tables have whole gradients",
    "class Rate": "the loop in torch asks the recipe, fit asks a schedule",
    "class Progress": "the loop in torch reports, fit calls back",
    "batches": "the loop in torch makes its batches, fit reads them",
    "Layer.split": "torch.split",
    "Graph.__call__": "forward in torch",
    "Frozen.trainable": "requires_grad_ in torch",
    "Frozen.__call__": "the layers alone are traced in torch",
    "FoldedModel.trainable": "requires_grad_ in torch",
    "replace": "torch's modules can be copied",
    "copied": "torch's modules can be copied",
    "own_weights": "torch's modules can be copied",
    "in_rows": "torch.nn.functional.linear takes any rank",
    "in_shape": "torch.nn.functional.linear takes any rank",
    "is_eager": "torch has one type of tensor",
    "table": "nn.Embedding.from_pretrained in torch",
}
def outline(path: Path) -> list[str]:
    """The names of a file's functions, classes, methods and attributes, in order."""
    names: list[str] = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            names.append(node.name)
        if isinstance(node, ast.ClassDef):
            owner = node.name.removeprefix("TF")
            names.append(f"class {owner}")
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    if not method.name.startswith(FRAMEWORK_METHODS):
                        names.append(f"{owner}.{method.name}")
                    names += [f"{owner}.{name}" for name in attributes(method)]
    return list(dict.fromkeys(names))


def attributes(method: ast.FunctionDef) -> list[str]:
    """What a method assigns to self; a trailing underscore only avoids a name that Keras reserves."""
    assigned = [node for node in ast.walk(method) if isinstance(node, ast.Assign | ast.AnnAssign)]
    targets = [target for node in assigned for target in getattr(node, "targets", None) or [node.target]]
    return [
        target.attr if target.attr.startswith("_") else target.attr.rstrip("_")
        for target in targets
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
    ]


def shared(twin: str, file: str, exceptions: dict[str, str]) -> list[str]:
    """The outline of a twin's file without its exceptions; one for a class is one for all it has."""
    names = outline(ROOT / twin / f"{file}.py")
    return [name for name in names if name not in exceptions and f"class {name.partition('.')[0]}" not in exceptions]


@pytest.mark.parametrize("file", FILES)
def test_the_twins_mirror_each_other(file: str) -> None:
    assert shared("mobilebert_pt", file, ONLY_TORCH) == shared("mobilebert_tf", file, ONLY_KERAS)


def test_no_exception_is_stale() -> None:
    ours = {name for file in FILES for name in outline(ROOT / "mobilebert_pt" / f"{file}.py")}
    theirs = {name for file in FILES for name in outline(ROOT / "mobilebert_tf" / f"{file}.py")}
    assert set(ONLY_TORCH) <= ours - theirs
    assert set(ONLY_KERAS) <= theirs - ours
