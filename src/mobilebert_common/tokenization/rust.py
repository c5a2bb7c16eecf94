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

    backend: ClassVar[str] = "tokenizers"
    _parts: Any = None  # of the Rust tokenizer as it was built

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The Rust tokenizer. A change of its parts counts in calls, but cannot be saved: assign `do_lower_case` instead."""
        return self._tokenizer

    @property
    def decoder(self) -> Any:
        return self._tokenizer.decoder

    def _prepare(self) -> None:
        if not self.do_basic_tokenize or self.never_split:
            raise ValueError(
                "the Rust tokenizer does not support do_basic_tokenize=False or never_split: use MobileBertTokenizer"
            )
        self._check_parts()
        vocab = {token: index for index, token in enumerate(self._tokens[: self._base_size])}
        backend = Tokenizer(WordPiece(vocab, unk_token=self.unk_token or ""))
        backend.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=self.tokenize_chinese_chars,
            strip_accents=self.strip_accents,
            lowercase=self.do_lower_case,
        )
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece(prefix="##")
        cls, sep = self.cls_token, self.sep_token
        if cls is not None and sep is not None:
            backend.post_processor = processors.TemplateProcessing(
                single=f"{cls}:0 $A:0 {sep}:0",
                pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
                special_tokens=[(cls, self._ids[cls]), (sep, self._ids[sep])],
            )
        backend.add_tokens(list(self.added_tokens_decoder.values()))
        self._tokenizer = backend
        self._parts = _parts(backend)

    def _check_parts(self) -> None:
        """Refuse to lose a change that somebody made to the Rust tokenizer."""
        if self._parts is not None and _parts(self._tokenizer) != self._parts:
            raise ValueError(
                "a part of backend_tokenizer was changed, which files and copies cannot hold: "
                "assign do_lower_case, strip_accents or tokenize_chinese_chars of the tokenizer, or use add_tokens"
            )

    def _arguments(self) -> dict[str, Any]:
        self._check_parts()
        return super()._arguments()

    def words(self, text: str) -> list[str]:
        normalizer, pre_tokenizer = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        normalized = text if normalizer is None else normalizer.normalize_str(text)
        return [normalized] if pre_tokenizer is None else [word for word, _ in pre_tokenizer.pre_tokenize_str(normalized)]

    def _segments(
        self, texts: Sequence[Text], is_split_into_words: bool, split_special_tokens: bool
    ) -> Sequence[Segment]:
        if not all(isinstance(text, (list, tuple) if is_split_into_words else str) for text in texts):
            check_texts(texts, is_split_into_words)
        batch: Any = texts
        backend = self._tokenizer
        # only where it changes something: other threads may be reading
        if backend.truncation is not None or backend.padding is not None:
            backend.no_truncation()
            backend.no_padding()
        if backend.encode_special_tokens != split_special_tokens:
            backend.encode_special_tokens = split_special_tokens
        try:
            return backend.encode_batch(batch, is_pretokenized=is_split_into_words, add_special_tokens=False)
        except (TypeError, ValueError):
            check_texts(texts, is_split_into_words)  # its message is clearer
            raise


def _parts(backend: Tokenizer) -> Any:
    parts = (backend.normalizer, backend.pre_tokenizer, backend.decoder, backend.post_processor)
    return [part and part.__getstate__() for part in parts], backend.get_vocab_size()
