"""What PyTorch users do with a model: save, compile, export, checkpoint gradients, resize."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree

from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import SequenceClassifierOutput
from mobilebert_common.model.schema import expand
from mobilebert_pt import MobileBertForSequenceClassification, MobileBertModel, heads
from support.configs import make_config

CONFIG = make_config(initializer_range=0.2, attention_probs_dropout_prob=0.1)
IDS = torch.arange(21).reshape(3, 7)
MASK = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] * 6 + [0]])
LABELS = torch.tensor([0, 2, 1])


def make_model(**changes: Any) -> MobileBertForSequenceClassification:
    torch.manual_seed(0)
    return MobileBertForSequenceClassification(CONFIG.replace(**changes))


@pytest.mark.parametrize("head", ARCHITECTURES)
def test_state_dict_has_the_schema_names_and_shapes(head: str) -> None:
    model = getattr(heads, head)(CONFIG)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in expand(CONFIG, head).items()}


def test_initial_values() -> None:
    model = make_model(initializer_range=0.02, vocab_size=1000)
    words = model.get_input_embeddings().weight
    assert not words[0].any()
    assert words[1:].abs().max() <= 0.04
    assert 0.015 < words[1:].std() < 0.02
    assert not model.classifier.bias.any()
    assert (model.mobilebert.embeddings.LayerNorm.weight == 1).all()


def test_the_padding_row_gets_no_gradient() -> None:
    model = make_model()
    model(IDS, MASK, labels=LABELS).loss.backward()
    gradient = model.get_input_embeddings().weight.grad
    assert not gradient[0].any()
    assert gradient[1].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_saving_keeps_the_dtype_and_loading_asks_for_one(tmp_path: Path, dtype: torch.dtype) -> None:
    model = make_model().to(dtype)
    model.save_pretrained(tmp_path)
    again = MobileBertForSequenceClassification.from_pretrained(tmp_path, dtype=dtype)
    assert again.dtype == dtype
    assert not again.training
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(model.parameters(), again.parameters(), strict=True))
    assert MobileBertForSequenceClassification.from_pretrained(tmp_path).dtype == torch.float32


def test_a_fresh_head_is_reported_once_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = MobileBertModel(CONFIG)
    base.save_pretrained(tmp_path)
    model = MobileBertForSequenceClassification.from_pretrained(tmp_path, device="cpu", num_labels=5)
    assert "classifier.weight, classifier.bias: fresh weights" in caplog.text
    assert len(caplog.records) == 1
    assert model.classifier.weight.shape == (5, 32)
    assert 0 < model.classifier.weight.abs().max() <= 0.4
    assert torch.equal(model(IDS).logits, model(IDS).logits)


def test_a_subclass_with_a_layer_of_its_own_opens_the_parents_checkpoint(tmp_path: Path) -> None:
    class Own(MobileBertForSequenceClassification):
        def __init__(self, config: MobileBertConfig) -> None:
            super().__init__(config)
            self.extra = torch.nn.Linear(3, 2)

    parent = make_model().eval()
    parent.save_pretrained(tmp_path)
    model = Own.from_pretrained(tmp_path)
    assert torch.equal(model(IDS).logits, parent(IDS).logits)
    assert torch.isfinite(model.extra(model(IDS).logits)).all()


def test_gradient_checkpointing_with_dropout_gives_the_same_gradients() -> None:
    def gradients(every: int | None) -> list[torch.Tensor]:
        model = make_model(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3).double().train()
        if every:
            model.activation_checkpointing_enable(every_n_layers=every)
        torch.manual_seed(1)
        model(IDS, MASK, labels=LABELS).loss.backward()
        return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    plain = gradients(None)
    for every in (1, 2):
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(plain, gradients(every), strict=True))
    other = make_model(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3).double().train()
    torch.manual_seed(2)
    other(IDS, MASK, labels=LABELS).loss.backward()
    assert not torch.equal(other.classifier.weight.grad, plain[-2])  # there was dropout


def test_resized_embeddings_keep_old_rows_and_train_new_ones() -> None:
    model = make_model()
    before = model.get_input_embeddings().weight.detach().clone()
    table = model.resize_token_embeddings(45, pad_to_multiple_of=8)
    assert table.weight.shape == (48, 8)
    assert model.config.vocab_size == model.mobilebert.config.vocab_size == 48
    assert torch.equal(table.weight[:40], before)
    model(torch.full((1, 4), 47), labels=torch.tensor([1])).loss.backward()
    assert table.weight.grad[47].any()
    model.resize_token_embeddings(10)
    with pytest.raises(ValueError, match="from 0 to 9; found 20"):
        model(IDS)


def test_a_tuple_where_no_mapping_is_wanted() -> None:
    model = make_model().eval()
    loss, logits = model(IDS, labels=LABELS, return_dict=False)
    output = model(IDS, labels=LABELS)
    assert torch.equal(output[0], loss)
    assert torch.equal(output[1], logits)
    model.config.return_dict = False
    assert isinstance(model(IDS), tuple)


def test_outputs_asked_for_by_the_configuration() -> None:
    output = make_model(output_attentions=True, output_hidden_states=True)(IDS)
    assert [state.shape for state in output.hidden_states] == [(3, 7, 32)] * 3
    assert [attention.shape for attention in output.attentions] == [(3, 4, 7, 7)] * 2


def test_outputs_are_trees() -> None:
    output = make_model()(IDS, labels=LABELS)
    doubled = pytree.tree_map(lambda tensor: tensor * 2, output)
    assert isinstance(doubled, SequenceClassifierOutput)
    assert torch.equal(doubled.logits, output.logits * 2)


def test_compile_has_no_graph_break_and_asserts_the_ids() -> None:
    model = make_model().eval()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.equal(compiled(IDS, MASK).logits, model(IDS, MASK).logits)
    with pytest.raises(RuntimeError, match="input_ids must be from 0 to 39"):
        compiled(IDS + 20, MASK)


def test_export() -> None:
    model = make_model().eval()
    batch, length = torch.export.Dim("batch", min=2, max=64), torch.export.Dim("length", min=2, max=12)
    program = torch.export.export(
        model, (IDS, MASK), dynamic_shapes={"input_ids": {0: batch, 1: length}, "attention_mask": {0: batch, 1: length}}
    )
    output = program.module()(IDS[:2, :5], MASK[:2, :5])
    assert torch.allclose(output.logits, model(IDS[:2, :5], MASK[:2, :5]).logits, atol=1e-6)


def test_autocast_with_a_wholly_masked_row_is_finite() -> None:
    mask = MASK.clone()
    mask[0] = 0
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            assert torch.isfinite(make_model().eval()(IDS, mask).logits).all()


def test_regression_and_multi_label_losses_by_hand() -> None:
    numbers = torch.tensor([0.5, -1.0, 2.0])
    output = make_model(num_labels=1)(IDS, labels=numbers)
    assert torch.allclose(output.loss, ((output.logits[:, 0] - numbers) ** 2).mean())
    several = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    output = make_model()(IDS, labels=several)
    share = output.logits.sigmoid()
    assert torch.allclose(output.loss, -(several * share.log() + (1 - several) * (1 - share).log()).mean(), atol=1e-6)


def test_the_problem_type_does_not_stick() -> None:
    model = make_model()
    model(IDS, labels=torch.rand(3, 3))
    assert model.config.problem_type is None
    assert np.isfinite(model(IDS, labels=LABELS).loss.item())
