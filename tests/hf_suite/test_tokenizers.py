"""Both tokenizers in the tests that Hugging Face writes for its own, those of the transformers that is installed."""

import logging
import shutil
import tempfile
import unittest
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import transformers
from hf_tests import test_tokenization_common as theirs

import mobilebert_common
from mobilebert_common.tokenization import (
    MobileBertTokenizer,
    MobileBertTokenizerBase,
    MobileBertTokenizerFast,
    learn_vocabulary,
)

MESSAGES = Path(mobilebert_common.__file__).parent / "data" / "messages.tsv"


class OnOurFiles(theirs.TokenizerTesterMixin):
    """Their set-up, except that the files are ours and not those of google-bert/bert-base-uncased.

    Their tests expect warnings in the log of `transformers`; ours go through the module `warnings` and are passed on to that log.
    """

    test_seq2seq = False  # their switch for models with a decoder

    @classmethod
    def setUpClass(cls) -> None:
        cls.tmpdirname = tempfile.mkdtemp()
        vocab = learn_vocabulary(MESSAGES.read_text(encoding="utf-8").splitlines(), 400)
        MobileBertTokenizer(vocab=vocab).save_pretrained(cls.tmpdirname)
        cls.tokenizers_list = [(cls.rust_tokenizer_class or cls.tokenizer_class, cls.tmpdirname, {})]
        cls.from_pretrained_id = [cls.tmpdirname]
        cls._data = MESSAGES.read_text(encoding="utf-8")[:300]  # a failure compares it number by number

    def setUp(self) -> None:
        super().setUp()
        caught = warnings.catch_warnings()
        caught.__enter__()
        self.addCleanup(caught.__exit__, None, None, None)
        warnings.filterwarnings("always", category=UserWarning)
        warnings.showwarning = lambda message, *_, **__: logging.getLogger("transformers").warning("%s", message)

    def subTest(self, *_: Any, **__: Any) -> AbstractContextManager[None]:
        """Let a part that fails end the test: an expected failure covers a test, not its parts."""
        return nullcontext()

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(cls.tmpdirname)


# they ask for the class of a tokenizer to know how it returns overflow; both of ours do what their fast one does
theirs.TokenizersBackend = theirs.PreTrainedTokenizerFast = MobileBertTokenizerBase

if transformers.__version__.startswith("4."):  # its tests compare the two classes

    class TestBoth(OnOurFiles, unittest.TestCase):
        tokenizer_class, rust_tokenizer_class = MobileBertTokenizer, MobileBertTokenizerFast

else:
    from hf_tests.test_tokenizers_backend_mixin import TokenizersBackendTesterMixin as Backend

    class TestPython(OnOurFiles, unittest.TestCase):
        tokenizer_class, rust_tokenizer_class = MobileBertTokenizer, None

    class TestFast(OnOurFiles, Backend, unittest.TestCase):
        tokenizer_class = rust_tokenizer_class = MobileBertTokenizerFast
