"""The base model in Keras. mobilebert_pt/model.py is its translation."""

import math
from typing import Any

import keras
import ml_dtypes
from keras import ops

from mobilebert_common.model import inputs
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.exporting import is_exporting
from mobilebert_common.model.outputs import SCORES, BaseModelOutputWithPooling

from .checks import check_ids, check_model_inputs, sizes
from .layers import Embeddings, Encoder, Pooler
from .pretrained import TFMobileBertPreTrainedModel
from .seeds import seed_for


@keras.saving.register_keras_serializable(package="mobilebert")
class TFMobileBertModel(TFMobileBertPreTrainedModel):
    """Embeddings, encoder and pooler.

    Args:
        config: a copy is kept as `config`.
        add_pooling_layer: heads that score every token have none.
        kwargs: name and dtype (a Keras dtype policy) of the Keras model.
    """

    def __init__(self, config: MobileBertConfig, add_pooling_layer: bool = True, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.embeddings = Embeddings(self.config, name="embeddings", dtype=self.dtype_policy)
        self.encoder = Encoder(self.config, name="encoder", dtype=self.dtype_policy)
        self.pooler = Pooler(self.config, name="pooler", dtype=self.dtype_policy) if add_pooling_layer else None

    def __getattr__(self, name: str) -> Any:
        """`mobilebert` is the model itself: where transformers' TF classes keep their main layer."""
        if name == self.base_model_prefix:  # no property, which Keras would follow without end when it loads a file
            return self
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "add_pooling_layer": self.pooler is not None}

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: Any = None,
        inputs_embeds: Any = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        training: bool | None = None,
        seed: Any = None,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """
        Args:
            input_ids: [b t] integers (or a mapping of all tensors by name), or
            inputs_embeds: [b t e], in place of the word embeddings, before the trigram.
            attention_mask: [b t] or, per query, [b t t]; 0 hides a position. Default: all visible.
            token_type_ids: [b t]. Default: 0.
            position_ids: [b t] or [1 t]. Default: 0 to t - 1.
            head_mask: [n] or [L n]; multiplies the heads' attention.
            output_hidden_states, output_attentions, return_dict: as in the configuration by default.
            training: whether to apply dropout.
            seed: for dropout, in place of training; a head passes the one it has drawn.
        Raises:
            ValueError: ids outside their table, a wrong dtype or shape, an empty batch, a sequence too long.
        """
        config = self.config
        check_model_inputs(input_ids, inputs_embeds, attention_mask, head_mask, config)
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        seed = self.draw_seed(training) if seed is None else seed
        x = self.embeddings(
            input_ids, token_type_ids, position_ids, inputs_embeds, seed=seed_for(self.embeddings, seed)
        )  # [b t h]
        states, attentions, *kept = self.encoder(
            x,
            self.attention_bias(attention_mask),
            self.layer_masks(head_mask),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            seed=seed_for(self.encoder, seed),
        )
        output = BaseModelOutputWithPooling(
            last_hidden_state=states[-1],
            pooler_output=None if self.pooler is None else self.pooler(states[-1]),
            hidden_states=states if output_hidden_states else None,
            attentions=attentions if output_attentions else None,
        )
        if kept:
            output[SCORES] = kept[0]
        return self.finish(output, return_dict)

    def attention_bias(self, attention_mask: Any) -> Any:
        """[b t] or [b t t] -> [b 1 1 t] or [b 1 t t]: 0 where visible, elsewhere the smallest number."""
        if attention_mask is None:
            return None
        new = (1, 2) if len(attention_mask.shape) == 2 else 1
        visible = ops.not_equal(ops.expand_dims(attention_mask, new), 0)  # LiteRT has no slice that adds an axis
        if is_exporting():  # converters to float16 would cut a constant to -65504, which scores can pass: 65504 ** 8 is 3.39e38
            hidden = ops.where(visible, ops.zeros((), self.compute_dtype), ops.full((), 65504.0, self.compute_dtype))
            for _ in range(3):
                hidden = hidden * hidden
            return -hidden
        smallest = float(ml_dtypes.finfo(self.compute_dtype).min)
        return ops.where(visible, ops.zeros((), self.compute_dtype), ops.full((), smallest, self.compute_dtype))

    def layer_masks(self, head_mask: Any) -> Any:
        """[n] or [L n] -> [L n 1 1]."""
        if head_mask is None:
            return None
        layers, heads = self.config.num_hidden_layers, self.config.num_attention_heads
        return ops.broadcast_to(ops.cast(head_mask, self.compute_dtype), (layers, heads))[:, :, None, None]


def take_positions(x: Any, positions: Any) -> Any:
    """[b t h] at [b m] -> [b m h]; x itself if no positions are given."""
    if positions is None:
        return x
    inputs.check_positions(sizes(positions), sizes(x))
    positions, valid = check_ids(positions, ops.shape(x)[1], "masked_lm_positions")
    rows = ops.take_along_axis(x, ops.expand_dims(positions, -1), axis=1)
    return rows if valid is None else ops.where(ops.expand_dims(valid, -1), rows, math.nan)
