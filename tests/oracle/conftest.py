"""Set-up of the oracle environments: which files their transformers release can run, and two repairs to its models."""

import os
from collections.abc import Iterator

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # transformers' TF classes are Keras 2 classes; `import keras` stays Keras 3

import pytest
import torch
import transformers

from .models import repaired_pytorch

# 5.x has neither TF classes nor the code for SQuAD; its environment is the one with what is built on transformers
OTHERS = {"4": ["test_ecosystem.py"], "5": ["test_hf_h5.py", "test_hf_tf.py", "test_answers.py", "test_metrics.py"]}
collect_ignore = OTHERS[transformers.__version__[0]]


@pytest.fixture(scope="session", autouse=True)
def repaired_hugging_face() -> Iterator[None]:
    """HF's PyTorch models with layer_norm_eps everywhere and able to run the teacher (models.repaired_pytorch)."""
    torch.set_num_threads(1)  # thousands of tiny products
    transformers.utils.logging.disable_progress_bar()
    with repaired_pytorch():
        yield
