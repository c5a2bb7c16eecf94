"""Everything about a MobileBERT tokenizer except how it splits a text.

A subclass implements `_segments`: texts in; ids, offsets and word numbers out. Truncation, overflow, pairs, padding, saving and
loading are in this module, tokens and ids in vocabulary.py.
"""

import warnings
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from tokenizers import AddedToken

from .. import keywords
from ..errors import CheckpointError
from ..files import hub
from ..files.folder import Folder, save_files
from . import storage
from .arguments import Text, Texts, fill, listed, one_of, split_inputs, stack, strategy, whole
from .encoding import BatchEncoding, Encoding, Frame, Part, Segment
from .shaping import PADDINGS, SIDES, TRUNCATIONS, Padding, Truncation
from .vocabulary import Vocabulary

MAX_LENGTH = 512  # tokens; MobileBERT has as many positions
UNLIMITED = 10**20  # a model_max_length from here on means no limit


class MobileBertTokenizerBase(Vocabulary):
    """The interface of both MobileBERT tokenizers.

    Args:
        vocab_file: vocab.txt, one token per line.
        vocab: the tokens in the order of their ids, or {token: id}, instead of a file.
        tokenizer_file: tokenizer.json, instead of vocab_file; its tokens are used, its options are not.
        do_lower_case: lower-case the text.
        do_basic_tokenize: normalize, and split at punctuation; False only in MobileBertTokenizer.
        never_split: words to keep whole, one token each; only in MobileBertTokenizer.
        unk_token, sep_token, pad_token, cls_token, mask_token: the special tokens; they must be in the vocabulary.
        additional_special_tokens: more tokens that are never split and that decoding can skip; new ones are added.
        tokenize_chinese_chars: make every CJK ideograph a word of its own.
        strip_accents: drop accents; None means: if do_lower_case.
        model_max_length: the longest row the model accepts, in tokens.
        padding_side, truncation_side: "right" or "left".
        clean_up_tokenization_spaces: whether `decode` cleans up spaces over the whole text as well; see there.
        added_tokens: {id: token}, the tokens that were added to the vocabulary earlier.
    Raises:
        CheckpointError: a file is unusable.
        ValueError, TypeError: an argument is invalid.
    """

    is_fast: ClassVar[bool]
    model_input_names: ClassVar[list[str]] = ["input_ids", "token_type_ids", "attention_mask"]

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        *,
        vocab: Sequence[str] | Mapping[str, int] | None = None,
        tokenizer_file: str | Path | None = None,
        do_lower_case: bool = True,
        do_basic_tokenize: bool = True,
        never_split: Iterable[str] | None = None,
        unk_token: str | AddedToken = "[UNK]",
        sep_token: str | AddedToken = "[SEP]",
        pad_token: str | AddedToken = "[PAD]",
        cls_token: str | AddedToken = "[CLS]",
        mask_token: str | AddedToken = "[MASK]",
        additional_special_tokens: Sequence[str | AddedToken] = (),
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        model_max_length: int = MAX_LENGTH,
        padding_side: str = "right",
        truncation_side: str = "right",
        clean_up_tokenization_spaces: bool = False,
        added_tokens: Mapping[int, AddedToken] | None = None,
    ) -> None:
        added = dict(added_tokens or {})
        if [vocab_file, vocab, tokenizer_file].count(None) != 2:
            raise TypeError("give one of vocab_file, vocab and tokenizer_file")
        if vocab is not None:
            tokens = storage.checked_tokens(vocab)
        elif vocab_file is not None:
            tokens = storage.read_vocabulary(Path(vocab_file))
        elif tokenizer_file is not None:
            stored = storage.read_tokenizer(Path(tokenizer_file))
            tokens, added = stored.tokens, {**stored.added, **added}
        roles = {
            "unk_token": unk_token,
            "sep_token": sep_token,
            "pad_token": pad_token,
            "cls_token": cls_token,
            "mask_token": mask_token,
        }
        try:
            super().__init__(tokens, added, roles, additional_special_tokens)
        except ValueError as error:
            source = vocab_file or tokenizer_file
            raise error if source is None else CheckpointError(source, str(error)) from None
        self.do_lower_case = do_lower_case
        self.do_basic_tokenize = do_basic_tokenize
        self.never_split = [storage.check_token(word) for word in never_split or ()]
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        self.model_max_length = whole("model_max_length", model_max_length, 1)
        self.padding_side = one_of("padding_side", padding_side, SIDES)
        self.truncation_side = one_of("truncation_side", truncation_side, SIDES)
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self.name_or_path = ""
        self._warned = False
        self._prepare()

    # What a subclass implements, besides _prepare

    @abstractmethod
    def _segments(self, texts: Sequence[Text], is_split_into_words: bool) -> Sequence[Segment]:
        """Tokenize texts, or lists of words, without special tokens, truncation or padding."""

    @abstractmethod
    def words(self, text: str) -> list[str]:
        """Split a text into normalized words, not yet into pieces. Added tokens are treated like any text."""

    # From text to ids

    def __call__(
        self,
        text: Texts,
        text_pair: Texts | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Turn a text, a pair of texts, or a list of either into model inputs.

        As in transformers' fast tokenizer, an empty text_pair for a single text counts as None.

        Args:
            text, text_pair: a text or a list of texts; with is_split_into_words, a list of words or a list of such lists.
            add_special_tokens: make it [CLS] first [SEP], or [CLS] first [SEP] second [SEP].
            padding: True or "longest", "max_length", or False.
            truncation: True or "longest_first", "only_first", "only_second", or False. None means False, or
                True if max_length is given and padding is not.
            max_length: in tokens, special ones included; None means model_max_length.
            stride: how many tokens of the row before it an overflowing row repeats.
            pad_to_multiple_of: pad to a length that is a multiple of this.
            return_tensors: "np", "pt" or "tf"; None returns lists.
            return_overflowing_tokens: return what truncation cuts off as further rows; overflow_to_sample_mapping has the
                index of the text each row comes from.
        Returns:
            input_ids, token_type_ids, attention_mask and what else was asked for; each [b s], or [s] for a single text
            without return_tensors.
        Raises:
            TypeError, ValueError: an argument is invalid, or a text is not a str or has a lone surrogate.
        """
        cut, pad = self._shaping(padding, truncation, max_length, stride, pad_to_multiple_of, padding_side, verbose)
        texts, pairs, batched = split_inputs(text, text_pair, is_split_into_words)
        samples = self._encode(texts, pairs, is_split_into_words, add_special_tokens, cut, return_overflowing_tokens)
        samples = pad(samples)
        rows = [row for sample in samples for row in sample]
        data: dict[str, Any] = {"input_ids": [row.ids for row in rows]}
        if return_token_type_ids is not False:
            data["token_type_ids"] = [row.type_ids for row in rows]
        if return_attention_mask is not False:
            data["attention_mask"] = [row.attention_mask for row in rows]
        if return_special_tokens_mask:
            data["special_tokens_mask"] = [row.special_tokens_mask for row in rows]
        if return_offsets_mapping:
            data["offset_mapping"] = [row.offsets for row in rows]
        if verbose and max_length is None:
            self._warn_if_too_long(max((len(row) for row in rows), default=0))
        if not batched and return_tensors is None and not return_overflowing_tokens:
            data = {name: value[0] for name, value in data.items()}
        if return_length:
            data["length"] = [len(row) for row in rows]
        if return_overflowing_tokens:
            data["overflow_to_sample_mapping"] = [index for index, sample in enumerate(samples) for _ in sample]
        return BatchEncoding(data, rows, return_tensors)

    def encode(self, text: Text, text_pair: Text | None = None, **arguments: Any) -> Any:
        """Return the input_ids of one text or pair; the arguments are those of a call."""
        return self(text, text_pair, **arguments)["input_ids"]

    def tokenize(
        self, text: Text, pair: Text | None = None, add_special_tokens: bool = False, **arguments: Any
    ) -> list[str]:
        """Return the tokens of one text or pair."""
        return self(text, pair, add_special_tokens=add_special_tokens, verbose=False, **arguments).tokens()

    def _encode(
        self,
        texts: Sequence[Text],
        pairs: Sequence[Text] | None,
        is_split_into_words: bool,
        special: bool,
        cut: Truncation,
        overflow: bool,
    ) -> list[list[Encoding]]:
        """Make the rows of every sample, its overflow after its first row."""
        segments = self._segments([*texts, *(pairs or ())], is_split_into_words)
        parts = [Part(segment, segment.ids) for segment in segments]
        seconds: Sequence[Part | None] = parts[len(texts) :] if pairs is not None else [None] * len(texts)
        count = self.num_special_tokens_to_add(pairs is not None) if special else 0
        frame = self._frame()
        return [
            [Encoding(one, two, frame, special) for one, two in cut(first, second, count, overflow)]
            for first, second in zip(parts, seconds, strict=False)
        ]

    def _frame(self) -> Frame:
        cls, sep, pad = (self._special[role] for role in ("cls_token", "sep_token", "pad_token"))
        return Frame((self._ids[cls], cls), (self._ids[sep], sep), (self._ids[pad], pad))

    def _shaping(
        self,
        padding: bool | str,
        truncation: bool | str | None,
        max_length: int | None,
        stride: int,
        multiple: int | None,
        padding_side: str | None,
        verbose: bool = True,
    ) -> tuple[Truncation, Padding]:
        """Check the arguments of a call and fill in defaults."""
        if truncation is None:
            truncation = max_length is not None and padding is False
        cutting = strategy("truncation", truncation, TRUNCATIONS)
        filling = strategy("padding", padding, PADDINGS)
        stride = whole("stride", stride, 0)
        if max_length is not None:
            max_length = whole("max_length", max_length, 0)
            if verbose and padding is True and cutting == "do_not_truncate":
                warnings.warn(
                    "max_length is ignored: padding=True pads to the longest row, and truncation is off; "
                    "padding='max_length' pads to max_length",
                    stacklevel=3,
                )
        elif self.model_max_length < UNLIMITED:
            max_length = self.model_max_length
        else:
            cutting = "do_not_truncate"
            filling = "do_not_pad" if filling == "max_length" else filling
        if multiple is not None:
            multiple = whole("pad_to_multiple_of", multiple, 1)
            both = cutting != "do_not_truncate" and filling != "do_not_pad"
            if both and max_length is not None and max_length % multiple:
                raise ValueError(f"max_length={max_length} is not a multiple of pad_to_multiple_of={multiple}")
        side = one_of("padding_side", padding_side or self.padding_side, SIDES)
        limit = None if cutting == "do_not_truncate" else max_length
        cut = Truncation(limit, cutting, stride, one_of("truncation_side", self.truncation_side, SIDES))
        return cut, Padding(filling, max_length, multiple, side)

    def _warn_if_too_long(self, length: int) -> None:
        if length > self.model_max_length and not self._warned:
            self._warned = True
            warnings.warn(
                f"a row has {length} tokens, but the model takes {self.model_max_length}: use truncation=True",
                stacklevel=3,
            )

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Pad inputs that are already tokenized, as a data collator does.

        Args:
            encoded_inputs: {name: list or tensor} of one text or of a batch, or a list with one such mapping per text.
                input_ids, token_type_ids, attention_mask and special_tokens_mask are padded, nothing else.
            The others: as in a call.
        Returns:
            The padded inputs, which do not know the texts they came from.
        """
        shared = encoded_inputs if isinstance(encoded_inputs, Mapping) else stack(encoded_inputs)
        inputs = {name: listed(value) for name, value in shared.items()}
        if "input_ids" not in inputs:
            raise ValueError(f"pad needs input_ids, and these inputs have {', '.join(inputs) or 'nothing'}")
        ids = inputs["input_ids"]
        single = bool(ids) and not isinstance(ids[0], list)
        if single:
            inputs = {name: [value] for name, value in inputs.items()}
            ids = [ids]
        wrong = [name for name, value in inputs.items() if not isinstance(value, list) or len(value) != len(ids)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: not as many rows as input_ids, which has {len(ids)}")
        _, pad = self._shaping(padding, None, max_length, 0, pad_to_multiple_of, padding_side, verbose=False)
        if return_attention_mask is not False:
            inputs.setdefault("attention_mask", [[1] * len(row) for row in ids])
        if pad.strategy != "do_not_pad":
            length = pad.length([len(row) for row in ids])
            filler = {
                "input_ids": self.pad_token_id,
                "token_type_ids": 0,
                "attention_mask": 0,
                "special_tokens_mask": 1,
            }
            for name in filler.keys() & inputs.keys():
                inputs[name] = [fill(row, filler[name], length, pad.side) for row in inputs[name]]
        if single and return_tensors is None:
            inputs = {name: value[0] for name, value in inputs.items()}
        return BatchEncoding(inputs, tensor_type=return_tensors)

    # Files

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path | Folder, **options: Any) -> Self:
        """Open a tokenizer that this class or transformers saved.

        Reads tokenizer.json and vocab.txt (one may be missing; two must agree) and, where present, tokenizer_config.json,
        special_tokens_map.json, added_tokens.json, and config.json, whose max_position_embeddings caps model_max_length.
        `options` override tokenizer_config.json, which overrides tokenizer.json, which overrides the defaults.

        Args:
            pretrained_model_name_or_path: a folder or, as a str, a name on the hub.
            options: arguments of the constructor; hub.Options; what keywords.OPENING_TOKENIZER accepts.
        Raises:
            CheckpointError: a file is missing, damaged, or not part of a MobileBERT tokenizer.
            ConfigError: an option of transformers is not supported.
            OSError, ImportError: see hub.resolve.
        """
        where, _, overrides = keywords.sort_options(options, keywords.OPENING_TOKENIZER)
        directory = hub.resolve(pretrained_model_name_or_path, [*storage.FILES], **where)
        stored = storage.read_directory(directory, default_length=MAX_LENGTH, unlimited=UNLIMITED)
        try:
            tokenizer = cls(vocab=stored.tokens, added_tokens=stored.added, **{**stored.options, **overrides})
        except CheckpointError:
            raise
        except ValueError as error:
            raise CheckpointError(str(directory), str(error)) from None
        tokenizer.name_or_path = str(pretrained_model_name_or_path)
        return tokenizer

    def save_pretrained(
        self, save_directory: str | Path, filename_prefix: str | None = None, **options: Any
    ) -> tuple[str, ...]:
        """Write vocab.txt, tokenizer.json and tokenizer_config.json in one transaction. transformers reads them too.

        Args:
            options: what keywords.SAVING accepts.
        Returns:
            The paths.
        """
        keywords.refuse_meaningful(options, keywords.SAVING)
        return self._save(save_directory, self.contents(filename_prefix))

    def contents(self, filename_prefix: str | None = None) -> dict[str, bytes]:
        """Return the files that save_pretrained writes, for a caller that saves them in one transaction with the weights.

        Returns:
            {file name: content}.
        Raises:
            ValueError: the vocabulary has a token with a line break, which vocab.txt cannot hold.
        """
        arguments = self._arguments()
        files = {
            storage.VOCAB_FILE: storage.vocabulary_text(arguments["vocab"]),
            storage.TOKENIZER_FILE: storage.tokenizer_text(arguments),
            storage.CONFIG_FILE: storage.config_text(arguments),
        }
        return {_prefixed(name, filename_prefix): content for name, content in files.items()}

    def save_vocabulary(self, save_directory: str | Path, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write only vocab.txt, without the added tokens.

        Returns:
            Its path, as a tuple of one.
        """
        content = storage.vocabulary_text(self._tokens[: self._base_size])
        return self._save(save_directory, {_prefixed(storage.VOCAB_FILE, filename_prefix): content})

    def _save(self, directory: str | Path, contents: Mapping[str, bytes]) -> tuple[str, ...]:
        save_files(Path(directory), contents)
        return tuple(str(Path(directory) / name) for name in contents)

    def _arguments(self) -> dict[str, Any]:
        """Return the constructor arguments that recreate this tokenizer."""
        options = {name: getattr(self, name) for name in storage.OPTIONS}
        return {
            "vocab": self._tokens[: self._base_size],
            "added_tokens": self.added_tokens_decoder,
            **self._special,
            **options,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._arguments(), self.name_or_path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size}, model_max_length={self.model_max_length})"


def _prefixed(name: str, prefix: str | None) -> str:
    return f"{prefix}-{name}" if prefix else name


def _restore(
    cls: type[MobileBertTokenizerBase], arguments: dict[str, Any], name_or_path: str
) -> MobileBertTokenizerBase:
    tokenizer = cls(**arguments)
    tokenizer.name_or_path = name_or_path
    return tokenizer
