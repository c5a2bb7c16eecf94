"""MobileBertTokenizerFast: tokenization with the Rust library `tokenizers`."""

from collections.abc import Sequence
from typing import Any, ClassVar

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from .arguments import Text, check_texts
from .base import MobileBertTokenizerBase
from .encoding import Segment


class MobileBertTokenizerFast(MobileBertTokenizerBase):
    """The tokenizer in Rust: the reference, and the one to use.

    The arguments are those of MobileBertTokenizerBase, but do_basic_tokenize and never_split must keep their defaults.
    """

    is_fast: ClassVar[bool] = True

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """A separate Rust tokenizer that also adds the special tokens."""
        backend = self._without_template()
        cls, sep = self.cls_token, self.sep_token
        backend.post_processor = processors.TemplateProcessing(
            single=f"{cls}:0 $A:0 {sep}:0",
            pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
            special_tokens=[(cls, self.cls_token_id), (sep, self.sep_token_id)],
        )
        return backend

    def _prepare(self) -> None:
        if not self.do_basic_tokenize or self.never_split:
            raise ValueError(
                "the Rust tokenizer does not support do_basic_tokenize=False or never_split: use MobileBertTokenizer"
            )
        self._normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=self.tokenize_chinese_chars,
            strip_accents=self.strip_accents,
            lowercase=self.do_lower_case,
        )
        self._pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        self._backend = self._without_template()

    def _without_template(self) -> Tokenizer:
        vocab = {token: index for index, token in enumerate(self._tokens[: self._base_size])}
        backend = Tokenizer(WordPiece(vocab, unk_token=self.unk_token))
        backend.normalizer = self._normalizer
        backend.pre_tokenizer = self._pre_tokenizer
        backend.decoder = decoders.WordPiece(prefix="##")
        backend.add_tokens(list(self.added_tokens_decoder.values()))
        return backend

    def words(self, text: str) -> list[str]:
        normalized = self._normalizer.normalize_str(text)
        return [word for word, _ in self._pre_tokenizer.pre_tokenize_str(normalized)]

    def _segments(self, texts: Sequence[Text], is_split_into_words: bool) -> Sequence[Segment]:
        if not all(isinstance(text, (list, tuple) if is_split_into_words else str) for text in texts):
            check_texts(texts, is_split_into_words)
        batch: Any = texts
        try:
            return self._backend.encode_batch(batch, is_pretokenized=is_split_into_words, add_special_tokens=False)
        except (TypeError, ValueError):
            check_texts(texts, is_split_into_words)  # its message is clearer
            raise
