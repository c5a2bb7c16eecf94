"""Everything a MobileBERT tokenizer does that does not depend on how it splits a text.

A subclass supplies `_segments`: texts in, ids, offsets and word numbers out. Truncation, overflow, pairs, padding, special
tokens, decoding, saving and loading are here, so that they are the same for every tokenizer.
"""

import operator
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, overload

from tokenizers import AddedToken

from ..errors import CheckpointError
from ..files import save_files
from . import storage
from .encoding import BatchEncoding, Encoding, Frame, Part, Segment
from .shaping import PADDINGS, SIDES, TRUNCATIONS, Padding, Truncation

MAX_LENGTH = 512  # tokens; the positions a MobileBERT model has
UNLIMITED = 10**20  # a model_max_length above this means that there is none

Text = str | Sequence[str]  # one text, or the words of one text
Texts = Text | Sequence[Text]

# (what to replace, by what) in decoded text; the first list is for single tokens, which never hold " ' " whole
_MARKS = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","))
_CONTRACTIONS = ((" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"))
CLEANED_IN_TOKENS = (*_MARKS, *_CONTRACTIONS)
CLEANED_IN_TEXT = (*_MARKS, (" ' ", "'"), *_CONTRACTIONS)


class SpecialToken:
    """The token that has a role, as an attribute: `tokenizer.mask_token`. A new one must be in the vocabulary."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, tokenizer: "MobileBertTokenizerBase", owner: type | None = None) -> str:
        return tokenizer._special[self.name]

    def __set__(self, tokenizer: "MobileBertTokenizerBase", token: str | AddedToken) -> None:
        tokenizer._set_special(self.name, token)


class SpecialTokenId:
    """The id of the token that has a role, as an attribute: `tokenizer.mask_token_id`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    def __get__(self, tokenizer: "MobileBertTokenizerBase", owner: type | None = None) -> int:
        return tokenizer._ids[tokenizer._special[self.name]]


class MobileBertTokenizerBase(ABC):
    """The calling surface of both MobileBERT tokenizers.

    Args:
        vocab_file: vocab.txt, one token a line.
        vocab: the tokens in the order of their ids, or {token: id}, instead of a file.
        tokenizer_file: tokenizer.json, instead of vocab_file; only its tokens are read here, `from_pretrained` reads its options.
        do_lower_case: lower-case the text.
        do_basic_tokenize: split at punctuation and so on before splitting into pieces; False only in MobileBertTokenizer.
        never_split: words left as they are, one token each; only in MobileBertTokenizer.
        unk_token, sep_token, pad_token, cls_token, mask_token: the special tokens, which the vocabulary must hold.
        additional_special_tokens: more tokens that are never split and that decoding can skip; added where they are new.
        tokenize_chinese_chars: set CJK ideographs apart.
        strip_accents: drop accents; None means if lower-casing.
        model_max_length: the longest row the model takes, in tokens.
        padding_side, truncation_side: "right" or "left".
        clean_up_tokenization_spaces: whether `decode` also removes the spaces before punctuation that it inserted.
        added_tokens: {id: token} of tokens added to the vocabulary before.
    Raises:
        CheckpointError: a file that cannot be used.
        ValueError, TypeError: an argument that cannot be used.
    """

    is_fast: ClassVar[bool]
    model_input_names: ClassVar[list[str]] = ["input_ids", "token_type_ids", "attention_mask"]
    pad_token_type_id: ClassVar[int] = 0

    unk_token, unk_token_id = SpecialToken(), SpecialTokenId()
    sep_token, sep_token_id = SpecialToken(), SpecialTokenId()
    pad_token, pad_token_id = SpecialToken(), SpecialTokenId()
    cls_token, cls_token_id = SpecialToken(), SpecialTokenId()
    mask_token, mask_token_id = SpecialToken(), SpecialTokenId()

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
        if vocab_file is not None:
            self._tokens = storage.read_vocabulary(Path(vocab_file))
        elif tokenizer_file is not None:
            stored = storage.read_tokenizer(Path(tokenizer_file))
            self._tokens, added = stored.tokens, {**stored.added, **added}
        elif vocab is not None:
            self._tokens = storage.checked_tokens(vocab)
        self._base_size = len(self._tokens)
        self._ids = {token: index for index, token in enumerate(self._tokens)}
        self.do_lower_case = do_lower_case
        self.do_basic_tokenize = do_basic_tokenize
        self.never_split = sorted(set(never_split or ()))
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        self.model_max_length = model_max_length
        self.padding_side = _one_of("padding_side", padding_side, SIDES)
        self.truncation_side = _one_of("truncation_side", truncation_side, SIDES)
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self.name_or_path = ""
        self._warned = False

        special = dict(
            unk_token=unk_token, sep_token=sep_token, pad_token=pad_token, cls_token=cls_token, mask_token=mask_token
        )
        self._special = {role: str(token) for role, token in special.items()}
        self._additional = [str(token) for token in additional_special_tokens]
        self._added: dict[int, AddedToken] = {}
        self._add(added[index] for index in sorted(added))
        wrong = [f"{token.content!r} {index}" for index, token in added.items() if self._ids[token.content] != index]
        if wrong:
            raise ValueError(
                f"added_tokens: {', '.join(wrong)}: the ids do not continue the vocabulary's {self._base_size:,}"
            )
        missing = sorted(set(self._special.values()) - self._ids.keys())
        if missing:
            source = vocab_file or tokenizer_file
            reason = f"the vocabulary lacks the special tokens {', '.join(missing)}"
            raise ValueError(reason) if source is None else CheckpointError(source, reason)
        for token in (*special.values(), *additional_special_tokens):
            self._make_special(token)
        self._prepare()

    # What a subclass supplies

    @abstractmethod
    def _segments(self, texts: Sequence[Text], is_split_into_words: bool) -> Sequence[Segment]:
        """Tokenize texts, or lists of words, without special tokens, truncation or padding."""

    @abstractmethod
    def _prepare(self) -> None:
        """Build whatever depends on the vocabulary, the added tokens or the options; called after each change."""

    @abstractmethod
    def words(self, text: str) -> list[str]:
        """The words of a text, normalized, before they are split into pieces; added tokens get no special treatment."""

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

        As in transformers' fast tokenizer, an empty second text given for one text counts as none.

        Args:
            text, text_pair: a text or a list of texts; with is_split_into_words a list of words or a list of those.
            add_special_tokens: [CLS] first [SEP], or [CLS] first [SEP] second [SEP].
            padding: True or "longest", "max_length", or False.
            truncation: True or "longest_first", "only_first", "only_second", or False. None means False, unless max_length
                is given and padding is not.
            max_length: in tokens, special ones included; None means model_max_length.
            stride: tokens that a row of overflow repeats.
            pad_to_multiple_of: round the length up to a multiple, when padding.
            return_tensors: "np", "pt" or "tf"; None returns lists.
            return_overflowing_tokens: further rows for what is cut off; overflow_to_sample_mapping tells whose they are.
        Returns:
            input_ids, token_type_ids, attention_mask and what was asked for; [b s] each, [s] for a single text returned as
            lists.
        """
        cut, pad = self._shaping(padding, truncation, max_length, stride, pad_to_multiple_of, padding_side, verbose)
        texts, pairs, batched = _split_inputs(text, text_pair, is_split_into_words)
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
        """The input_ids of one text or pair; the arguments are those of a call."""
        return self(text, text_pair, **arguments)["input_ids"]

    def tokenize(
        self, text: Text, pair: Text | None = None, add_special_tokens: bool = False, **arguments: Any
    ) -> list[str]:
        """The tokens of one text or pair."""
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
        """The rows of every sample, the first row before its overflow."""
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
        """The arguments of a call, checked and completed."""
        if truncation is None:
            truncation = max_length is not None and padding is False
        cutting = _strategy("truncation", truncation, TRUNCATIONS)
        filling = _strategy("padding", padding, PADDINGS)
        stride = _whole("stride", stride, 0)
        if max_length is not None:
            max_length = _whole("max_length", max_length, 0)
            if verbose and padding is True and cutting == "do_not_truncate":
                warnings.warn(
                    "max_length is ignored: padding=True goes to the longest row, and truncation is off; "
                    "padding='max_length' goes to max_length",
                    stacklevel=3,
                )
        elif self.model_max_length < UNLIMITED:
            max_length = self.model_max_length
        else:
            cutting = "do_not_truncate"
            filling = "do_not_pad" if filling == "max_length" else filling
        if multiple is not None:
            multiple = _whole("pad_to_multiple_of", multiple, 1)
            both = cutting != "do_not_truncate" and filling != "do_not_pad"
            if both and max_length is not None and max_length % multiple:
                raise ValueError(f"max_length={max_length} is not a multiple of pad_to_multiple_of={multiple}")
        side = _one_of("padding_side", padding_side or self.padding_side, SIDES)
        limit = None if cutting == "do_not_truncate" else max_length
        cut = Truncation(limit, cutting, stride, _one_of("truncation_side", self.truncation_side, SIDES))
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
        """Pad inputs that are tokenized already, as a data collator does.

        Args:
            encoded_inputs: the inputs of one text or of several, {name: list or tensor}, or a list with those of each text.
                input_ids, token_type_ids, attention_mask and special_tokens_mask are padded, anything else is left as it is.
            The others: as in a call.
        Returns:
            The padded inputs, without the way back to the texts.
        """
        shared = encoded_inputs if isinstance(encoded_inputs, Mapping) else _stack(encoded_inputs)
        inputs = {name: _listed(value) for name, value in shared.items()}
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
        _, fill = self._shaping(padding, None, max_length, 0, pad_to_multiple_of, padding_side, verbose=False)
        if return_attention_mask is not False:
            inputs.setdefault("attention_mask", [[1] * len(row) for row in ids])
        if fill.strategy != "do_not_pad":
            length = fill.length([len(row) for row in ids])
            filler = {
                "input_ids": self.pad_token_id,
                "token_type_ids": 0,
                "attention_mask": 0,
                "special_tokens_mask": 1,
            }
            for name in filler.keys() & inputs.keys():
                inputs[name] = [_fill(row, filler[name], length, fill.side) for row in inputs[name]]
        if single and return_tensors is None:
            inputs = {name: value[0] for name, value in inputs.items()}
        return BatchEncoding(inputs, tensor_type=return_tensors)

    # From ids to text

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> str:
        """The text of one row of ids: a list or tensor of them, or a single one.

        Spaces before punctuation are taken out token by token; clean_up_tokenization_spaces (None: as the tokenizer's
        attribute says) does so again over the whole text, which also joins what a token's end hides.
        """
        ids = _listed(token_ids)
        text = self.convert_tokens_to_string(
            self._tokens_of(ids if isinstance(ids, list) else [ids], skip_special_tokens)
        )
        clean = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        return _clean(text, CLEANED_IN_TEXT) if clean else text

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """The texts of several rows of ids."""
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in _listed(sequences)]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Join tokens to a text: ## goes onto the word before, everything else after a space."""
        joined = list(tokens[:1])
        for token in tokens[1:]:
            joined.append(token[2:] if token.startswith("##") else f" {token}")
        return "".join(_clean(token, CLEANED_IN_TOKENS) for token in joined)

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...

    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int], skip_special_tokens: bool = False) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: int | Iterable[int], skip_special_tokens: bool = False) -> str | list[str]:
        """The token of an id, or the tokens of several."""
        if isinstance(ids, int):
            return self._tokens_of([ids], skip_special_tokens=False)[0]
        return self._tokens_of(_listed(ids), skip_special_tokens)

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...  # type: ignore[overload-overlap]  # a str counts as one

    @overload
    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> int | list[int]:
        """The id of a token, or the ids of several; that of the unknown token where there is none."""
        if isinstance(tokens, str):
            return self._ids.get(tokens, self.unk_token_id)
        unknown = self.unk_token_id
        return [self._ids.get(token, unknown) for token in tokens]

    def _tokens_of(self, ids: Iterable[int], skip_special_tokens: bool) -> list[str]:
        skipped = {index for index, token in self._added.items() if token.special} if skip_special_tokens else set()
        tokens = self._tokens
        try:
            return [tokens[operator.index(index)] for index in ids if index not in skipped and _in(index, tokens)]
        except TypeError:
            raise TypeError(f"an id must be a whole number, and these are {ids!r:.80}") from None

    # Special tokens

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        return 3 if pair else 2

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """[CLS] 0 [SEP], or [CLS] 0 [SEP] 1 [SEP]."""
        row = [self.cls_token_id, *token_ids_0, self.sep_token_id]
        return row if token_ids_1 is None else [*row, *token_ids_1, self.sep_token_id]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """0 for [CLS] 0 [SEP], 1 for 1 [SEP]."""
        return [0] * (len(token_ids_0) + 2) + ([] if token_ids_1 is None else [1] * (len(token_ids_1) + 1))

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """1 where a row has a special token.

        Args:
            token_ids_0, token_ids_1: the ids of the texts; or of a whole row, with already_has_special_tokens.
        """
        if already_has_special_tokens:
            if token_ids_1 is not None:
                raise ValueError("a row that has its special tokens is given whole, as token_ids_0")
            special = set(self.all_special_ids)
            return [int(index in special) for index in token_ids_0]
        second = [] if token_ids_1 is None else [*[0] * len(token_ids_1), 1]
        return [1, *[0] * len(token_ids_0), 1, *second]

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """{role: token}, and the additional ones where there are any."""
        return {
            **self._special,
            **({"additional_special_tokens": self.additional_special_tokens} if self._additional else {}),
        }

    @property
    def additional_special_tokens(self) -> list[str]:
        return list(self._additional)

    @property
    def all_special_tokens(self) -> list[str]:
        return list(dict.fromkeys((*self._special.values(), *self._additional)))

    @property
    def all_special_ids(self) -> list[int]:
        return self.convert_tokens_to_ids(self.all_special_tokens)

    # The vocabulary

    @property
    def vocab_size(self) -> int:
        """How many tokens the vocabulary has without the ones added later; len(tokenizer) counts those too."""
        return self._base_size

    def __len__(self) -> int:
        return len(self._tokens)

    def get_vocab(self) -> dict[str, int]:
        """{token: id}, with the added tokens."""
        return dict(self._ids)

    @property
    def vocab(self) -> dict[str, int]:
        return self.get_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """{id: token} of the tokens that are found in a text before it is split: special and added ones."""
        return {index: self._added[index] for index in sorted(self._added)}

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        return {token.content: index for index, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        return self.added_tokens_encoder

    def add_tokens(
        self, new_tokens: str | AddedToken | Sequence[str | AddedToken], special_tokens: bool = False
    ) -> int:
        """Add tokens that are found in a text before it is split. The model's embeddings must grow with them.

        Args:
            new_tokens: a plain string is looked for in the normalized text, or as it is if special.
            special_tokens: decoding can skip them.
        Returns:
            How many were not in the vocabulary before.
        """
        tokens = [new_tokens] if isinstance(new_tokens, (str, AddedToken)) else new_tokens
        before = len(self)
        self._add([_added_token(token, special_tokens) for token in tokens])
        self._prepare()
        return len(self) - before

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_additional_special_tokens: bool = True
    ) -> int:
        """Give roles to tokens and add those that are new.

        Args:
            special_tokens_dict: {"cls_token": token, …, "additional_special_tokens": [token, …]}.
        Returns:
            How many were not in the vocabulary before.
        """
        roles = dict(special_tokens_dict)
        additional = [*roles.pop("additional_special_tokens", ()), *roles.pop("extra_special_tokens", ())]
        unknown = sorted(roles.keys() - self._special.keys())
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: not one of {', '.join(self._special)}, additional_special_tokens")
        count = self.add_tokens([*roles.values(), *additional], special_tokens=True)
        for role, token in roles.items():
            self._set_special(role, token)
        if additional:
            kept = [] if replace_additional_special_tokens else self._additional
            self._additional = list(dict.fromkeys([*kept, *map(str, additional)]))
        return count

    def _add(self, tokens: Iterable[AddedToken]) -> None:
        for token in tokens:
            storage.check_token(token.content)
            if token.content not in self._ids:
                self._ids[token.content] = len(self._tokens)
                self._tokens.append(token.content)
            self._added[self._ids[token.content]] = token

    def _make_special(self, token: str | AddedToken) -> None:
        """See that a token is among the added ones, and special."""
        known = self._added.get(self._ids.get(str(token), -1))
        if known is None or not known.special:
            self._add([_added_token(known or token, special=True)])

    def _set_special(self, role: str, token: str | AddedToken) -> None:
        if str(token) not in self._ids:
            raise ValueError(f"{role}: {str(token)!r} is not in the vocabulary; add_special_tokens adds it")
        self._make_special(token)
        self._special[role] = str(token)
        self._prepare()

    # Files

    @classmethod
    def from_pretrained(cls, directory: str | Path, **overrides: Any) -> Self:
        """Open what this class, or transformers, has saved.

        Reads tokenizer.json and vocab.txt (either may be missing; if both are there they must agree), tokenizer_config.json,
        special_tokens_map.json and added_tokens.json where they are there, and max_position_embeddings from config.json, which
        no model_max_length exceeds. An option is taken from `overrides`, else from tokenizer_config.json, else from
        tokenizer.json, else it has its default.

        Args:
            directory: a local one.
            overrides: arguments of the constructor.
        Raises:
            CheckpointError: a file is missing, damaged, or holds something else than a MobileBERT tokenizer.
        """
        stored = storage.read_directory(Path(directory), default_length=MAX_LENGTH, unlimited=UNLIMITED)
        options = {**stored.options, **overrides}
        try:
            tokenizer = cls(vocab=stored.tokens, added_tokens=stored.added, **options)
        except CheckpointError:
            raise
        except ValueError as error:
            raise CheckpointError(directory, str(error)) from None
        tokenizer.name_or_path = str(directory)
        return tokenizer

    def save_pretrained(self, save_directory: str | Path, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write vocab.txt, tokenizer.json and tokenizer_config.json, which transformers reads too, in one step.

        Returns:
            The paths.
        """
        contents = {
            storage.VOCAB_FILE: storage.vocabulary_text(self._tokens[: self._base_size]),
            storage.TOKENIZER_FILE: storage.tokenizer_text(self._arguments()),
            storage.CONFIG_FILE: storage.config_text(self._arguments()),
        }
        return self._save(save_directory, filename_prefix, contents)

    def save_vocabulary(self, save_directory: str | Path, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write vocab.txt alone, without the added tokens.

        Returns:
            Its path, as a tuple of one.
        """
        contents = {storage.VOCAB_FILE: storage.vocabulary_text(self._tokens[: self._base_size])}
        return self._save(save_directory, filename_prefix, contents)

    def _save(self, directory: str | Path, prefix: str | None, contents: Mapping[str, bytes]) -> tuple[str, ...]:
        named = {f"{prefix}-{name}" if prefix else name: content for name, content in contents.items()}
        save_files(Path(directory), named)
        return tuple(str(Path(directory) / name) for name in named)

    def _arguments(self) -> dict[str, Any]:
        """The constructor's arguments that make this tokenizer anew."""
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


def _restore(
    cls: type[MobileBertTokenizerBase], arguments: dict[str, Any], name_or_path: str
) -> MobileBertTokenizerBase:
    tokenizer = cls(**arguments)
    tokenizer.name_or_path = name_or_path
    return tokenizer


def _split_inputs(
    text: Texts, text_pair: Texts | None, is_split_into_words: bool
) -> tuple[Sequence[Text], Sequence[Text] | None, bool]:
    """The first texts, the second texts, and whether a list of texts was given."""
    if is_split_into_words:
        batched = isinstance(text, (list, tuple)) and bool(text) and isinstance(text[0], (list, tuple))
    else:
        batched = isinstance(text, (list, tuple))
    if not batched:
        return [text], [text_pair] if text_pair else None, False  # type: ignore[list-item]  # _segments checks the types
    if text_pair is None:
        return text, None, True
    if not isinstance(text_pair, (list, tuple)):
        raise TypeError("text is a list, so text_pair must be a list of the same length")
    if len(text) != len(text_pair):
        raise ValueError(f"text has {len(text)} entries and text_pair has {len(text_pair)}")
    return text, text_pair, True


def check_texts(texts: Sequence[Text], is_split_into_words: bool) -> None:
    """Say what is wrong with the first text that cannot be tokenized.

    Raises:
        TypeError: it is no string, or no list of strings.
        ValueError: it holds a lone surrogate, which no encoding of Unicode can write.
    """
    for text in texts:
        if is_split_into_words and not isinstance(text, (list, tuple)):
            raise TypeError(f"with is_split_into_words a text is a list of words, not {type(text).__name__}")
        for word in text if is_split_into_words else [text]:
            if not isinstance(word, str):
                raise TypeError(
                    f"a text must be a str, or a list of them if there are several, not {type(word).__name__}"
                )
            try:
                word.encode()
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"a text has a lone surrogate, U+{ord(word[error.start]):04X}, at {error.start}"
                ) from None


def _added_token(token: str | AddedToken, special: bool) -> AddedToken:
    """A token as it is added; a string is looked for in the normalized text unless it is special."""
    if isinstance(token, AddedToken):
        if not special or token.special:
            return token
        flags = {name: getattr(token, name) for name in ("single_word", "lstrip", "rstrip", "normalized")}
        return AddedToken(token.content, **flags, special=True)
    if not isinstance(token, str):
        raise TypeError(f"a token must be a str or an AddedToken, not {type(token).__name__}")
    return AddedToken(token, normalized=not special, special=special)


def _one_of(name: str, value: Any, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return str(value)


def _strategy(name: str, value: bool | str, allowed: Sequence[str]) -> str:
    """The strategy's name; True is the first allowed one, False the last."""
    if isinstance(value, bool):
        return allowed[0 if value else -1]
    if value not in allowed:
        raise ValueError(f"{name} must be True, False or one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


def _whole(name: str, value: Any, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
    if number < least or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return number


def _listed(value: Any) -> Any:
    """A tensor, or a list that may hold some, as plain lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "numpy"):
        return value.numpy().tolist()
    if isinstance(value, (list, tuple)):
        return [_listed(item) for item in value] if value and not isinstance(value[0], int) else list(value)
    return value


def _stack(samples: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = samples[0].keys() if samples else ["input_ids"]
    if any(sample.keys() != names for sample in samples):
        raise ValueError("the samples to pad have different keys")
    return {name: [sample[name] for sample in samples] for name in names}


def _fill(row: list[int], filler: int, length: int, side: str) -> list[int]:
    padding = [filler] * (length - len(row))
    return row + padding if side == "right" else padding + row


def _in(index: int, tokens: Sequence[str]) -> bool:
    if not 0 <= index < len(tokens):
        raise ValueError(f"there is no token with the id {index}: the vocabulary has {len(tokens):,}")
    return True


def _clean(text: str, replacements: Sequence[tuple[str, str]]) -> str:
    for old, new in replacements:
        text = text.replace(old, new)
    return text
