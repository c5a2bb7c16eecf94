"""Hugging Face's Trainer for the models of this package."""

import os
from typing import Any

import torch

from .pretrained import MobileBertPreTrainedModel


def trainer_class() -> type:
    """A subclass of transformers.Trainer whose checkpoints open with from_pretrained, in PyTorch and in Keras.

    The Trainer itself saves the configuration only of models of transformers. This one writes config.json with every
    checkpoint, save_model and push_to_hub, and pads batches with the tokenizer it is given (processing_class).

    Raises:
        ImportError: transformers is not installed.
    """
    import transformers
    from transformers.trainer import TRAINING_ARGS_NAME

    class MobileBertTrainer(transformers.Trainer):
        """transformers.Trainer for models of mobilebert_pt."""

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            model = self.accelerator.unwrap_model(self.model)
            if not isinstance(model, MobileBertPreTrainedModel):  # an adapter of PEFT, for example
                super()._save(output_dir, state_dict)
                return
            directory = self.args.output_dir if output_dir is None else output_dir
            model.save_pretrained(directory, state_dict=state_dict)
            tokenizer = getattr(self, "processing_class", None) or getattr(self.data_collator, "tokenizer", None)
            if tokenizer is not None:
                tokenizer.save_pretrained(directory)
            torch.save(self.args, os.path.join(directory, TRAINING_ARGS_NAME))

    return MobileBertTrainer
