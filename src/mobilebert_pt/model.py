"""The base model in PyTorch. mobilebert_tf/model.py is its translation."""

from typing import Any

import torch
from torch import Tensor

from mobilebert_common.model import inputs
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import SCORES, BaseModelOutputWithPooling

from .checks import check_ids, check_model_inputs, check_tensors, is_exporting, sizes
from .layers import AttentionBias, Embeddings, Encoder, Pooler
from .pretrained import MobileBertPreTrainedModel


class MobileBertModel(MobileBertPreTrainedModel):
    """Embeddings, encoder and pooler.

    Args:
        config: a copy is kept as `config`.
        add_pooling_layer: heads that score every token have none.
    """

    def __init__(self, config: MobileBertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(self.config)
        self.encoder = Encoder(self.config)
        self.pooler = Pooler(self.config) if add_pooling_layer else None
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """
        Args:
            input_ids: [b t] integers, or
            inputs_embeds: [b t e], in place of the word embeddings, before the trigram.
            attention_mask: [b t] or, per query, [b t t]; 0 hides a position. Default: all visible.
            token_type_ids: [b t]. Default: 0.
            position_ids: [b t] or [1 t]. Default: 0 to t - 1.
            head_mask: [n] or [L n]; multiplies the heads' attention.
            output_hidden_states, output_attentions, return_dict: as in the configuration by default.
        Raises:
            ValueError: ids outside their table, a wrong dtype or shape, an empty batch, a sequence too long.
        """
        config = self.config
        check_model_inputs(input_ids, inputs_embeds, attention_mask, head_mask, config)
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        x = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)  # [b t h]
        states, attentions, *kept = self.encoder(
            x,
            self.attention_bias(attention_mask, x.dtype),
            self.layer_masks(head_mask, x.dtype),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
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

    def attention_bias(self, attention_mask: Tensor | None, dtype: torch.dtype) -> AttentionBias | None:
        """[b t] or [b t t] of zeros and ones -> [b 1 1 t] or [b 1 t t]: see AttentionBias.

        Args:
            dtype: that of the hidden states; under FSDP2's mixed precision it is not that of the parameters.
        """
        if attention_mask is None:
            return None
        device = self.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype
        visible = (attention_mask[:, None, None] if attention_mask.dim() == 2 else attention_mask[:, None]) != 0
        if is_exporting():
            zero, smallest = (torch.tensor(value, dtype=dtype) for value in (0, torch.finfo(dtype).min))
            return AttentionBias(torch.where(visible, zero, smallest), None)
        seen = visible.any(dim=-1, keepdim=True)
        bias = torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill(
            seen & ~visible, torch.finfo(dtype).min
        )
        return AttentionBias(bias, seen.to(dtype))

    def layer_masks(self, head_mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """[n] or [L n] -> [L n 1 1]."""
        if head_mask is None:
            return None
        layers, heads = self.config.num_hidden_layers, self.config.num_attention_heads
        return head_mask.to(dtype).expand(layers, heads)[:, :, None, None]


def take_positions(x: Tensor, positions: Tensor | list[list[int]] | None) -> Tensor:
    """[b t h] at [b m] -> [b m h]; x itself if no positions are given."""
    if positions is None:
        return x
    if isinstance(positions, list):  # which Keras converts itself
        positions = torch.tensor(positions, device=x.device)
    check_tensors(masked_lm_positions=positions)
    inputs.check_positions(sizes(positions), sizes(x))
    positions = check_ids(positions, sizes(x)[1], "masked_lm_positions").long()
    return x.gather(1, positions[:, :, None].expand(-1, -1, x.shape[2]))
