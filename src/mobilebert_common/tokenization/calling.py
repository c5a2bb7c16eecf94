"""From text to ids: the call of a tokenizer, its older forms, and padding.

Truncation and padding themselves are in shaping.py, the rows in encoding.py.
"""

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from .arguments import Text, Texts, check_given, fill, kind_of, listed, one_of, split_inputs, stack, strategy, whole
from .encoding import NOWHERE, BatchEncoding, Encoding, Frame, Part, Segment, Tokenized
from .shaping import PADDINGS, SIDES, TRUNCATIONS, Padding, Truncation
from .vocabulary import Vocabulary

UNLIMITED = 10**20  # a model_max_length from here on means no limit; transformers writes 10**30
MAX_PADDED = 1 << 20  # tokens that padding="max_length" may pad to: a tokenizer's files can ask for any length

# the warnings that are given once, by their keys in `deprecation_warnings`, where transformers keeps them
TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"
NO_PADDING = "Asking-to-pad-to-max_length"
NO_TRUNCATION = "Asking-to-truncate-to-max_length"


class Calling(Vocabulary):
    """How a tokenizer is called; a subclass implements `_segments`."""

    backend: ClassVar[str]  # "tokenizers" for the Rust library
    is_fast: ClassVar[bool] = True  # what pipelines ask to know whether a call returns offsets and words: it always does
    model_max_length: int
    model_input_names: list[str]
    padding_side: str
    truncation_side: str
    split_special_tokens: bool
    deprecation_warnings: dict[str, bool]

    @abstractmethod
    def _segments(self, texts: Sequence[Text], is_split_into_words: bool, split_special_tokens: bool) -> Sequence[Segment]:
        """Tokenize texts, or lists of words, without special tokens, truncation or padding."""

    def __call__(
        self,
        text: Texts | None = None,
        text_pair: Texts | None = None,
        text_target: Texts | None = None,
        text_pair_target: Texts | None = None,
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
        split_special_tokens: bool | None = None,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
    ) -> BatchEncoding:
        """Turn a text, a pair of texts, or a list of either into model inputs.

        As in transformers' fast tokenizer, an empty text_pair for a single text counts as None.

        Args:
            text, text_pair: a text or a list of texts; with is_split_into_words, a list of words or a list of such lists. Without
                text_pair, a list of texts may have pairs in it, as tuples or lists of two.
            text_target, text_pair_target: texts whose input_ids become `labels`; all of the result if there is no text.
            add_special_tokens: make it [CLS] first [SEP], or [CLS] first [SEP] second [SEP].
            padding: True or "longest", "max_length", or False.
            truncation: True or "longest_first", "only_first", "only_second", or False. None means False, or
                True if max_length is given and padding is not.
            max_length: in tokens, special ones included; None means model_max_length.
            stride: how many tokens of the row before it an overflowing row repeats.
            pad_to_multiple_of: pad to a length that is a multiple of this.
            return_tensors: "np", "pt" or "tf"; None returns lists.
            return_token_type_ids, return_attention_mask: None means: if it is among model_input_names.
            return_overflowing_tokens: return what truncation cuts off as further rows; overflow_to_sample_mapping has the
                index of the text each row comes from.
            split_special_tokens: treat special tokens in a text like any other text; None means the tokenizer's attribute.
            tokenizer_kwargs: more of these arguments, which replace those given directly.
        Returns:
            input_ids, token_type_ids, attention_mask and what else was asked for; each [b s], or [s] for a single text
            without return_tensors.
        Raises:
            TypeError, ValueError: an argument is invalid, or a text is not a str or has a lone surrogate.
        """
        arguments: dict[str, Any] = {
            "add_special_tokens": add_special_tokens,
            "padding": padding,
            "truncation": truncation,
            "max_length": max_length,
            "stride": stride,
            "is_split_into_words": is_split_into_words,
            "pad_to_multiple_of": pad_to_multiple_of,
            "padding_side": padding_side,
            "return_tensors": return_tensors,
            "return_token_type_ids": return_token_type_ids,
            "return_attention_mask": return_attention_mask,
            "return_overflowing_tokens": return_overflowing_tokens,
            "return_special_tokens_mask": return_special_tokens_mask,
            "return_offsets_mapping": return_offsets_mapping,
            "return_length": return_length,
            "verbose": verbose,
            "split_special_tokens": self.split_special_tokens if split_special_tokens is None else split_special_tokens,
            **(tokenizer_kwargs or {}),
        }
        if text is None and text_target is None:
            raise ValueError("give text, text_target or both")
        if text is None:
            return self._call(text_target, text_pair_target, **arguments)
        inputs = self._call(text, text_pair, **arguments)
        if text_target is not None:
            inputs["labels"] = self._call(text_target, text_pair_target, **arguments)["input_ids"]
        return inputs

    def encode(
        self,
        text: Any,
        text_pair: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        **arguments: Any,
    ) -> Any:
        """Return the input_ids of one text or pair; the arguments are those of a call."""
        check_given(text)
        return self(
            text,
            text_pair,
            add_special_tokens=add_special_tokens,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            stride=stride,
            padding_side=padding_side,
            return_tensors=return_tensors,
            **arguments,
        )["input_ids"]

    def tokenize(
        self, text: Text, pair: Text | None = None, add_special_tokens: bool = False, **arguments: Any
    ) -> list[str]:
        """Return the tokens of one text or pair."""
        check_given(text)
        return self(text, pair, add_special_tokens=add_special_tokens, verbose=False, **arguments).tokens()

    def batch_encode_plus(self, batch_text_or_text_pairs: Sequence[Any], *arguments: Any, **options: Any) -> BatchEncoding:
        """Call the tokenizer with a list of texts or pairs; its name in transformers 4."""
        check_given(batch_text_or_text_pairs)
        return self(batch_text_or_text_pairs, None, None, None, *arguments, **options)

    def encode_plus(self, text: Any, text_pair: Any = None, *arguments: Any, **options: Any) -> BatchEncoding:
        """Call the tokenizer with one text or pair; its name in transformers 4.

        MobileBertTokenizer also takes tokens or ids here, as the slow tokenizer of transformers does: see `prepare_for_model`.
        """
        check_given(text)
        given = [value for value in (text, text_pair) if value is not None]
        if options.get("is_split_into_words") or all(isinstance(value, str) for value in given):
            return self(text, text_pair, None, None, *arguments, **options)
        if self.backend == "tokenizers":
            raise TypeError("encode_plus takes one text or pair; call the tokenizer itself with a list of texts")
        ids = [self._tokenized(value) for value in given]
        return self.prepare_for_model(ids[0], ids[1] if ids[1:] else None, *arguments, **options)

    def _tokenized(self, value: Any) -> list[int]:
        """The ids of a text, a list of tokens or a list of ids."""
        if isinstance(value, str):
            return [*self.encode(value, add_special_tokens=False, verbose=False)]
        values = listed(value)
        if not isinstance(values, list | tuple) or not all(isinstance(item, int) or item in self._ids for item in values):
            raise TypeError("encode_plus takes a text, a list of tokens or a list of ids; call the tokenizer itself with a list of texts")
        return [item if isinstance(item, int) else self._ids[item] for item in values]

    def prepare_for_model(
        self,
        ids: Sequence[int],
        pair_ids: Sequence[int] | None = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        prepend_batch_axis: bool = False,
    ) -> BatchEncoding:
        """Make model inputs of the ids of a text, or of a pair: add special tokens, truncate and pad, as in a call.

        Args:
            return_overflowing_tokens: return the ids that truncation cuts off, with `stride` of those before them, as
                overflowing_tokens, and their number as num_truncated_tokens.
            prepend_batch_axis: make the tensors [1 s], not [s].
        """
        cut, pad = self._shaping(padding, truncation, max_length, stride, pad_to_multiple_of, padding_side, verbose)
        first, second = (None if part is None else self._part(part) for part in (ids, pair_ids))
        assert first is not None
        special = self.num_special_tokens_to_add(second is not None) if add_special_tokens else 0
        total = len(first.ids) + (len(second.ids) if second else 0) + special
        extra: dict[str, Any] = {}
        if return_overflowing_tokens:
            removed = 0 if cut.max_length is None else total - cut.max_length
            extra = {"overflowing_tokens": cut.removed(first, second, removed), "num_truncated_tokens": max(0, removed)}
        [(one, two)] = cut(first, second, special, overflow=False)
        [[row]] = pad([[Encoding(one, two, self._frame(add_special_tokens), add_special_tokens)]])
        data = self._columns([row], return_token_type_ids, return_attention_mask, return_special_tokens_mask, False)
        if verbose and max_length is None:
            self._warn_if_too_long(len(row))
        inputs = {**extra, **{name: value[0] for name, value in data.items()}, **({"length": len(row)} if return_length else {})}
        return BatchEncoding(inputs, None, return_tensors, prepend_batch_axis)

    def _part(self, ids: Sequence[int]) -> Part:
        """Ids as a part of a row: it has no words and no place in a text."""
        values = [*listed(ids)]
        count = len(values)
        return Part(Tokenized(values, self._tokens_of(values, False), [NOWHERE] * count, [None] * count), values)

    def _call(
        self,
        text: Texts | None,
        text_pair: Texts | None,
        *,
        add_special_tokens: bool,
        padding: bool | str,
        truncation: bool | str | None,
        max_length: int | None,
        stride: int,
        is_split_into_words: bool,
        pad_to_multiple_of: int | None,
        padding_side: str | None,
        return_tensors: str | None,
        return_token_type_ids: bool | None,
        return_attention_mask: bool | None,
        return_overflowing_tokens: bool,
        return_special_tokens_mask: bool,
        return_offsets_mapping: bool,
        return_length: bool,
        verbose: bool,
        split_special_tokens: bool,
    ) -> BatchEncoding:
        cut, pad = self._shaping(padding, truncation, max_length, stride, pad_to_multiple_of, padding_side, verbose)
        texts, pairs, batched = split_inputs(text, text_pair, is_split_into_words)
        self._token("unk_token")
        segments = self._segments(
            [*texts, *(pair for pair in pairs if pair is not None)], is_split_into_words, split_special_tokens
        )
        samples = pad(self._rows(segments, pairs, add_special_tokens, cut, return_overflowing_tokens))
        rows = [row for sample in samples for row in sample]
        data = self._columns(
            rows, return_token_type_ids, return_attention_mask, return_special_tokens_mask, return_offsets_mapping
        )
        if verbose and max_length is None:
            self._warn_if_too_long(max((len(row) for row in rows), default=0))
        if not batched and return_tensors is None and not return_overflowing_tokens:
            data = {name: value[0] for name, value in data.items()}
        if return_length:
            data["length"] = [len(row) for row in rows]
        if return_overflowing_tokens:
            data["overflow_to_sample_mapping"] = [index for index, sample in enumerate(samples) for _ in sample]
        return BatchEncoding(data, rows, return_tensors)

    def _rows(
        self, segments: Sequence[Segment], pairs: Sequence[Text | None], special: bool, cut: Truncation, overflow: bool
    ) -> list[list[Encoding]]:
        """Make the rows of every sample, its overflow after its first row.

        Args:
            segments: of the first texts, then of the second ones, in order.
            pairs: the second text of each sample, or None.
        """
        parts = [Part(segment, segment.ids) for segment in segments]
        seconds = iter(parts[len(pairs) :])
        counts = [self.num_special_tokens_to_add(pair) if special else 0 for pair in (False, True)]
        frame = self._frame(special)
        samples = []
        for first, pair in zip(parts, pairs, strict=False):
            second = None if pair is None else next(seconds)
            cuts = cut(first, second, counts[second is not None], overflow)
            samples.append([Encoding(one, two, frame, special) for one, two in cuts])
        return samples

    def _columns(
        self, rows: Sequence[Encoding], type_ids: bool | None, mask: bool | None, special_mask: bool, offsets: bool
    ) -> dict[str, Any]:
        """{name: value of each row}; None for type_ids or mask means: if it is among model_input_names."""
        data: dict[str, Any] = {"input_ids": [row.ids for row in rows]}
        if "token_type_ids" in self.model_input_names if type_ids is None else type_ids:
            data["token_type_ids"] = [row.type_ids for row in rows]
        if "attention_mask" in self.model_input_names if mask is None else mask:
            data["attention_mask"] = [row.attention_mask for row in rows]
        if special_mask:
            data["special_tokens_mask"] = [row.special_tokens_mask for row in rows]
        if offsets:
            data["offset_mapping"] = [row.offsets for row in rows]
        return data

    def _frame(self, special: bool) -> Frame:
        """[CLS], [SEP] and [PAD]; ("", -1) for one that the rows do not need."""
        if special:
            self._token("cls_token"), self._token("sep_token")
        cls, sep, pad = (self._special[role] or "" for role in ("cls_token", "sep_token", "pad_token"))
        return Frame((self._ids.get(cls, -1), cls), (self._ids.get(sep, -1), sep), (self._ids.get(pad, -1), pad))

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
                    stacklevel=4,
                )
        elif self.model_max_length < UNLIMITED:
            max_length = self.model_max_length
        else:
            no_limit = "no max_length is given and the tokenizer has no model_max_length:"
            if filling == "max_length":
                self._warn_once(NO_PADDING, f"{no_limit} nothing is padded", verbose)
                filling = "do_not_pad"
            if cutting != "do_not_truncate":
                self._warn_once(NO_TRUNCATION, f"{no_limit} nothing is truncated", verbose)
                cutting = "do_not_truncate"
        if filling != "do_not_pad":
            self._token("pad_token")
        if filling == "max_length" and max_length is not None and max_length > MAX_PADDED:
            raise ValueError(f"padding to {max_length:,} tokens takes too much memory: give max_length={MAX_PADDED:,} or less")
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
        if length > self.model_max_length:
            self._warn_once(
                TOO_LONG,
                "Token indices sequence length is longer than the specified maximum sequence length for this model "
                f"({length} > {self.model_max_length}): use truncation=True, or the model will refuse it",
            )

    def _warn_once(self, key: str, message: str, verbose: bool = True) -> None:
        if verbose and not self.deprecation_warnings.get(key, False):
            self.deprecation_warnings[key] = True
            warnings.warn(message, stacklevel=5)

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
            return_tensors: None returns what was given: lists, numpy arrays, or tensors of PyTorch or TensorFlow.
            The others: as in a call.
        Returns:
            The padded inputs, which do not know the texts they came from.
        """
        shared = encoded_inputs if isinstance(encoded_inputs, Mapping) else stack(encoded_inputs)
        main = self.model_input_names[0]
        if return_tensors is None:
            return_tensors = kind_of(shared.get(main))
        inputs = {name: listed(value) for name, value in shared.items()}
        if main not in inputs:
            raise ValueError(f"pad needs {main}, and these inputs have {', '.join(inputs) or 'nothing'}")
        ids = inputs[main]
        single = bool(ids) and not isinstance(ids[0], list)
        if single:
            inputs = {name: [value] for name, value in inputs.items()}
            ids = [ids]
        wrong = [name for name, value in inputs.items() if not isinstance(value, list) or len(value) != len(ids)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: not as many rows as {main}, which has {len(ids)}")
        _, pad = self._shaping(padding, None, max_length, 0, pad_to_multiple_of, padding_side, verbose=False)
        if "attention_mask" in self.model_input_names if return_attention_mask is None else return_attention_mask:
            inputs.setdefault("attention_mask", [[1] * len(row) for row in ids])
        if pad.strategy != "do_not_pad":
            length = pad.length([len(row) for row in ids])
            filler = {
                main: self._ids[self._token("pad_token")],
                "token_type_ids": 0,
                "attention_mask": 0,
                "special_tokens_mask": 1,
            }
            for name in filler.keys() & inputs.keys():
                inputs[name] = [fill(row, filler[name], length, pad.side) for row in inputs[name]]
        if single and return_tensors is None:
            inputs = {name: value[0] for name, value in inputs.items()}
        return BatchEncoding(inputs, tensor_type=return_tensors)
