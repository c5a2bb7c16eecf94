"""Hugging Face's Trainer on two processes, as torchrun starts them."""

from pathlib import Path
from typing import Any

import torch
import transformers

from mobilebert_pt import MobileBertConfig, MobileBertForMaskedLM, trainer_class
from support.configs import SIZES
from support.processes import call

ROWS = [[(3 * row + 5 * place) % 29 + 1 for place in range(7)] for row in range(16)]
DATA = [{"input_ids": ids, "labels": ids[: 1 + row % 5] + [-100] * (6 - row % 5)} for row, ids in enumerate(ROWS)]  # unequal numbers


class StopEarly(transformers.TrainerCallback):
    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        control.should_training_stop = control.should_save = True
        return control


def train(folder: str, share: int) -> None:
    """Two epochs in one go, and with a stop after the first; `share` rows of a step per process."""

    def trainer(name: str, **options: Any) -> Any:
        torch.manual_seed(0)
        sizes = {**SIZES, "vocab_size": 30, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        arguments = transformers.TrainingArguments(
            output_dir=f"{folder}/{name}",
            num_train_epochs=2,
            per_device_train_batch_size=share,
            learning_rate=1e-2,
            save_strategy="epoch",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            **options,
        )
        return trainer_class()(MobileBertForMaskedLM(MobileBertConfig(**sizes)), arguments, train_dataset=DATA, eval_dataset=DATA)

    whole = trainer("whole", eval_strategy="epoch", load_best_model_at_end=True)
    whole.train()
    whole.save_model(f"{folder}/saved")
    if transformers.__version__ < "5" and whole.args.world_size > 1:  # cannot resume on CPUs: it loads optimizers to "cpu:0"
        return
    parts = trainer("parts")
    parts.add_callback(StopEarly())
    parts.train()
    resumed = trainer("parts")
    resumed.train(resume_from_checkpoint=True)
    unbroken, again = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(again[name], unbroken[name]) for name in unbroken)


def test_two_processes_train_resume_and_save_as_one_does(tmp_path: Path) -> None:
    call(train, str(tmp_path / "two"), 4)
    call(train, str(tmp_path / "one"), 8, processes=1)
    two, one = (MobileBertForMaskedLM.from_pretrained(tmp_path / name / "saved").state_dict() for name in ("two", "one"))
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=2e-4)
