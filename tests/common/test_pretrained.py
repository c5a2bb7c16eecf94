"""What both twins' base classes share, on a model without a framework."""

from typing import Any

import pytest

from mobilebert_common.errors import ConfigError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import SequenceClassifierOutput
from mobilebert_common.model.pretrained import Pretrained, absent_blocks, canonical_class, resized_config


class MobileBertModel(Pretrained):
    def __init__(self, **values: Any) -> None:
        self.config = MobileBertConfig(**values)
        self.checkpointed: int | None = None

    def _checkpoint_layers(self, every: int | None) -> None:
        self.checkpointed = every


class TFMobileBertModel(MobileBertModel):
    pass


class Own(TFMobileBertModel):
    pass


@pytest.mark.parametrize("cls", [MobileBertModel, TFMobileBertModel, Own])
def test_canonical_class(cls: type) -> None:
    assert canonical_class(cls) == "MobileBertModel"


@pytest.mark.parametrize(
    ("rows", "multiple", "expected"),
    [(None, None, 40), (None, 16, 48), (41, None, 41), (41, 8, 48), (48, 8, 48), (7, 0, 7)],
)
def test_resized_config(rows: int | None, multiple: int | None, expected: int) -> None:
    config = MobileBertConfig(vocab_size=40, num_labels=3)
    assert resized_config(config, rows, multiple) == config.replace(vocab_size=expected)


@pytest.mark.parametrize(("rows", "error"), [(0, ConfigError), (3.5, TypeError), ("3", TypeError)])
def test_sizes_that_no_vocabulary_has(rows: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        resized_config(MobileBertConfig(), rows, None)


def test_activation_checkpointing_by_either_name() -> None:
    model = MobileBertModel()
    for enable, disable in (
        (model.activation_checkpointing_enable, model.activation_checkpointing_disable),
        (model.gradient_checkpointing_enable, model.gradient_checkpointing_disable),
    ):
        enable({"use_reentrant": False}, every_n_layers=3)
        assert model.checkpointed == 3
        disable()
        assert model.checkpointed is None
        enable()
        assert model.checkpointed == 1
        with pytest.raises(ConfigError, match="offload=True is not supported"):
            enable(offload=True)


@pytest.mark.parametrize("stored", [True, False])
def test_the_call_decides_before_the_configuration_whether_to_return_a_tuple(stored: bool) -> None:
    model, output = MobileBertModel(return_dict=stored), SequenceClassifierOutput(loss=1, logits=2)
    assert model.finish(output, None) == (output if stored else (1, 2))
    assert model.finish(output, True) is output
    assert model.finish(output, False) == (1, 2)


def test_absent_blocks() -> None:
    assert absent_blocks({}) == absent_blocks({"add_pooling_layer": True}) == ()
    assert absent_blocks({"add_pooling_layer": False}) == ("pooler",)
