"""What is built on transformers takes our PyTorch models: its Trainer, and PEFT."""

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from torch.utils.data import Dataset

from mobilebert_pt import (
    MobileBertConfig,
    MobileBertForMaskedLM,
    MobileBertForQuestionAnswering,
    MobileBertForSequenceClassification,
    MobileBertTokenizerFast,
    trainer_class,
)

from .models import SIZES

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "where", "is", "the", "parcel", "in", "paris", "rome", "good", "bad", "?"]
CONFIG = MobileBertConfig(**{**SIZES, "vocab_size": len(WORDS), "num_labels": 2, "initializer_range": 0.1})
CITIES = ["paris", "rome"]


class Examples(Dataset[dict[str, list[int]]]):
    """Encoded examples with labels, padded by the Trainer's collator."""

    def __init__(self, encoded: Any, **labels: list[int]) -> None:
        self.rows = [
            {name: values[row] for name, values in {**encoded, **labels}.items()} for row in range(len(encoded["input_ids"]))
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> dict[str, list[int]]:
        return self.rows[row]


def tokenizer() -> MobileBertTokenizerFast:
    return MobileBertTokenizerFast(vocab=WORDS, model_max_length=40)


def sentences() -> Examples:
    texts = [f"{word} parcel" for word in ("good", "bad")] * 8
    return Examples(dict(tokenizer()(texts)), labels=[0, 1] * 8)


def questions() -> Examples:
    contexts = [f"the parcel is in {city}" for city in CITIES] * 8
    encoded = dict(tokenizer()(["where is the parcel ?"] * 16, contexts))
    places = [next(ids.index(WORDS.index(city)) for city in CITIES if WORDS.index(city) in ids) for ids in encoded["input_ids"]]
    return Examples(encoded, start_positions=places, end_positions=places)


def words() -> Examples:
    encoded = dict(tokenizer()([f"the parcel is in {city}" for city in CITIES] * 8))
    return Examples(encoded, labels=encoded["input_ids"])


TASKS: dict[str, tuple[type, Any]] = {
    "words": (MobileBertForMaskedLM, words),
    "sentences": (MobileBertForSequenceClassification, sentences),
    "questions": (MobileBertForQuestionAnswering, questions),
}


@pytest.mark.parametrize("task", TASKS)
def test_the_trainer_trains_evaluates_saves_and_resumes(task: str, tmp_path: Path) -> None:
    cls, make = TASKS[task]
    torch.manual_seed(0)
    model, data = cls(CONFIG), make()

    def options(epochs: int) -> transformers.TrainingArguments:
        return transformers.TrainingArguments(
            output_dir=str(tmp_path / "runs"),
            num_train_epochs=epochs,
            per_device_train_batch_size=4,
            learning_rate=3e-3,
            save_strategy="epoch",
            eval_strategy="epoch",
            logging_strategy="epoch",
            load_best_model_at_end=True,
            activation_checkpointing=True,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            label_names=[name for name in data[0] if name.startswith(("labels", "start", "end"))],
        )

    def make_trainer(model: Any, epochs: int) -> transformers.Trainer:
        return trainer_class()(model, options(epochs), processing_class=tokenizer(), train_dataset=data, eval_dataset=data)

    trainer = make_trainer(model, 6)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before / 2
    trainer.save_model(str(tmp_path / "saved"))
    for folder in (tmp_path / "saved", *sorted((tmp_path / "runs").glob("checkpoint-*"))):
        again = cls.from_pretrained(folder)
        assert again.config.id2label == model.config.id2label
        assert MobileBertTokenizerFast.from_pretrained(folder).get_vocab() == tokenizer().get_vocab()
    again = cls.from_pretrained(tmp_path / "saved")
    batch = {name: torch.tensor([data[0][name]]) for name in data[0]}
    with torch.no_grad():
        for name, value in model.eval()(**batch).items():
            torch.testing.assert_close(again(**batch)[name], value)
    resumed = make_trainer(cls(CONFIG), 7)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.epoch == 7
    predictions = resumed.predict(data)
    assert np.isfinite(predictions.metrics["test_loss"])


def test_low_rank_adapters_of_peft(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, data = MobileBertForSequenceClassification(CONFIG), sentences()
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path / "base")
    wanted = peft.LoraConfig(task_type=peft.TaskType.SEQ_CLS, r=4, target_modules=["query", "value"], lora_dropout=0.0)
    adapted = peft.get_peft_model(model, wanted)
    batch = {name: torch.tensor([row[name] for row in data.rows]) for name in data[0]}
    optimizer = torch.optim.Adam([p for p in adapted.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(20):
        loss = adapted(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    adapted.save_pretrained(tmp_path / "adapter")
    adapted.eval()
    opened = MobileBertForSequenceClassification.from_pretrained(tmp_path / "base")
    again = peft.PeftModel.from_pretrained(opened, tmp_path / "adapter").eval()
    torch.testing.assert_close(again(**batch).logits, adapted(**batch).logits)
    merged = again.merge_and_unload()
    torch.testing.assert_close(merged(**batch).logits, adapted(**batch).logits, atol=1e-5, rtol=1e-5)
    merged.save_pretrained(tmp_path / "merged")
    opened = MobileBertForSequenceClassification.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(opened(**batch).logits, merged(**batch).logits)
    changed = {name for name, tensor in opened.state_dict().items() if not torch.equal(tensor, base[name])}
    assert {name.split(".")[-2] for name in changed} == {"query", "value", "classifier"}
