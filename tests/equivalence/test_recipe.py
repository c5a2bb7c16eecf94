"""CONTRIBUTING's recipe for a head: one row of a table and one class per twin, and all the rest follows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch

import mobilebert_pt.heads
import mobilebert_tf.heads
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.model.architectures import ARCHITECTURES, Architecture, Label
from mobilebert_common.model.outputs import SequenceClassifierOutput
from mobilebert_conversion.convert import convert
from mobilebert_conversion.live import to_keras, to_torch
from support.configs import CLASSIFIER, make_config
from support.twins import Pair, apart, gradients_apart, make_inputs

NEW = "MobileBertForGrading"


class MobileBertForGrading(mobilebert_pt.heads.HeadModel):
    """A grade for a text: a dense layer on the mean of its tokens."""

    output_class = SequenceClassifierOutput

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.classifier = torch.nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, labels: Any = None, return_dict: bool | None = None, **inputs: Any) -> Any:
        base = self.mobilebert(**inputs, return_dict=True)
        x = self.dropout(base.last_hidden_state.mean(dim=1))  # [b h]
        return self.complete(base, {"logits": self.classifier(x)}, {"labels": labels}, return_dict)


class TFMobileBertForGrading(mobilebert_tf.heads.HeadModel):
    """A grade for a text: a dense layer on the mean of its tokens."""

    output_class = SequenceClassifierOutput

    def __init__(self, config: Any, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.classifier = mobilebert_tf.heads.Linear(
            config, config.hidden_size, config.num_labels, name="classifier", dtype=self.dtype_policy
        )

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        head_mask: Any = None,
        labels: Any = None,
        return_dict: bool | None = None,
        training: bool | None = None,
        **switches: Any,
    ) -> Any:
        seed = self.draw_seed(training)
        base = self.mobilebert(
            input_ids,
            attention_mask,
            token_type_ids,
            head_mask=head_mask,
            return_dict=True,
            seed=mobilebert_tf.heads.seed_for(self.mobilebert, seed),
            **switches,
        )
        x = self.dropout(keras.ops.mean(base.last_hidden_state, axis=1), seed=seed)  # [b h]
        return self.complete(base, {"logits": self.classifier(x)}, {"labels": labels}, return_dict)


@pytest.fixture(autouse=True)
def row_of_the_table(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(ARCHITECTURES, NEW, Architecture(("classifier",), {"labels": Label("b", "n")}))
    monkeypatch.setattr(mobilebert_pt.heads, NEW, MobileBertForGrading, raising=False)
    monkeypatch.setattr(mobilebert_tf.heads, f"TF{NEW}", TFMobileBertForGrading, raising=False)
    yield


def test_the_new_head_is_like_the_others(tmp_path: Path) -> None:
    config = make_config()
    pair, inputs = Pair.open(tmp_path / "0", config, NEW), make_inputs(config)
    assert not apart(*pair.outputs(inputs), 1e-12)
    assert not gradients_apart(*pair.gradients(inputs))
    for number, model in enumerate((to_keras(pair.torch_model), to_torch(pair.keras_model))):
        model.save_pretrained(tmp_path / str(number + 1))
    convert(tmp_path / "1", tmp_path / "h5", "h5")
    convert(tmp_path / "h5", tmp_path / "3")
    files = {(tmp_path / name / "model.safetensors").read_bytes() for name in "123"}
    assert len(files) == 1
    assert checkpoint.load(tmp_path / "3", CLASSIFIER).fresh == ("mobilebert.pooler.dense.weight", "mobilebert.pooler.dense.bias")


def test_the_new_head_learns_in_keras() -> None:
    keras.utils.set_random_seed(0)
    config = make_config(initializer_range=0.2)
    model, inputs = TFMobileBertForGrading(config), make_inputs(config)
    del inputs["head_mask"]
    inputs["labels"] = np.array([0, 2, 1])
    model.compile(keras.optimizers.SGD(0.05))
    losses = model.fit(inputs, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    with pytest.raises(ValueError, match="labels must be from 0 to 2"):
        model.fit({**inputs, "labels": np.array([0, 2, 3])}, verbose=0)
