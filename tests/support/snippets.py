"""The blocks of docs/tasks/ that call a model, and folders with random models under the names the blocks use."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np

from mobilebert_common.checkpoints import checkpoint, h5
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.schema import expand
from mobilebert_common.tokenization import MobileBertTokenizerFast, learn_vocabulary
from mobilebert_conversion import h5_files

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "tasks").glob("*.md"))
CALLS = {page.stem: re.findall(r"^## Call the model\n(.*?)(?=^## |\Z)", page.read_text(encoding="utf-8"), re.M | re.S) for page in PAGES}
BLOCKS = {page: re.findall(r"^```python test\n(.*?)^```$", "".join(texts), re.MULTILINE | re.DOTALL) for page, texts in CALLS.items()}
TASKS = [page for page, blocks in BLOCKS.items() if blocks]  # each has two, for PyTorch and for Keras
PYTORCH, KERAS = ({page: BLOCKS[page][number] for page in TASKS} for number in (0, 1))

MODELS = {  # folder -> the class it was saved from, and its labels
    "mobilebert": ("MobileBertForPreTraining", ("A", "B")),
    "mobilebert-squad": ("MobileBertForQuestionAnswering", ("A", "B")),
    "mobilebert-tags": ("MobileBertForTokenClassification", ("O", "PLACE", "THING")),
    "mobilebert-labels": ("MobileBertForSequenceClassification", ("good", "bad", "question")),
    "mobilebert-endings": ("MobileBertForMultipleChoice", ("A", "B")),
}
SEED = 17  # with which no answer is empty, and not all tags and labels are the same
SCALES = {1: 0.05, 2: 0.2}  # of biases and norms, and of matrices
SIZES = {
    "embedding_size": 16,
    "hidden_size": 64,
    "intra_bottleneck_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "max_position_embeddings": 64,
    "classifier_activation": False,
}


def make_models(folder: Path, to_h5: bool = False, **settings: float) -> None:
    """A checkpoint directory for each of MODELS, or for the TF classes of transformers one with tf_model.h5."""
    vocabulary = learn_vocabulary(["the capital of france is paris .", "where is my parcel ? it will arrive tomorrow"], 120)
    tokenizer = MobileBertTokenizerFast(vocab=vocabulary, model_max_length=64)
    for name, (head, labels) in MODELS.items():
        draw = np.random.default_rng(SEED)
        config = MobileBertConfig(**{**SIZES, **settings}, vocab_size=len(vocabulary), id2label=dict(enumerate(labels)))
        tensors = {
            key: draw.normal(float(key.endswith("LayerNorm.weight")), SCALES[len(tensor.shape)], tensor.shape).astype(np.float32)
            for key, tensor in expand(config, head).items()
        }
        tensors["mobilebert.embeddings.word_embeddings.weight"][0] = 0
        if "cls.seq_relationship.weight" in tensors:
            tensors["cls.seq_relationship.weight"] *= 0.02  # else the probability is 0 or 1
        checkpoint.save(folder / name, config, head, tensors)
        if to_h5:
            h5_files.write(folder / name / h5.WEIGHTS_FILE, config, head, tensors)
            (folder / name / "model.safetensors").unlink()
        tokenizer.save_pretrained(folder / name)


def run(code: str) -> str:
    """What a block prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "docs/tasks", "exec"), {"__name__": "__main__"})
    return printed.getvalue()


def with_transformers(code: str) -> str:
    """A block with its one import changed."""
    changed = re.sub(r"^from mobilebert_(pt|tf) import", "from transformers import", code, count=1, flags=re.MULTILINE)
    assert changed != code
    return changed
