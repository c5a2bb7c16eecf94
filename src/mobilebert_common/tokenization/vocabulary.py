"""The tokens of a tokenizer: ids, roles, added tokens, and decoding."""

import operator
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, overload

from tokenizers import AddedToken

from .arguments import listed
from .storage import check_token

# (old, new) to replace in decoded text; single tokens have a list of their own because none contains " ' "
_MARKS = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","))
_CONTRACTIONS = ((" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"))
CLEANED_IN_TOKENS = (*_MARKS, *_CONTRACTIONS)
CLEANED_IN_TEXT = (*_MARKS, (" ' ", "'"), *_CONTRACTIONS)


class SpecialToken:
    """Attribute for the token with a role: `tokenizer.mask_token`. A token assigned to it must be in the vocabulary."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, tokenizer: "Vocabulary", owner: type | None = None) -> str:
        return tokenizer._special[self.name]

    def __set__(self, tokenizer: "Vocabulary", token: str | AddedToken) -> None:
        tokenizer._set_special(self.name, token)


class SpecialTokenId:
    """Attribute for the id of the token with a role: `tokenizer.mask_token_id`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    def __get__(self, tokenizer: "Vocabulary", owner: type | None = None) -> int:
        return tokenizer._ids[tokenizer._special[self.name]]


class Vocabulary(ABC):
    """Tokens and ids, the same for both MobileBERT tokenizers.

    Args:
        tokens: the vocabulary, in the order of the ids.
        added: {id: token}, the tokens that were added earlier.
        roles: {"cls_token": token, …} for the five roles.
        additional: more special tokens; new ones are added.
    Raises:
        ValueError: the token of a role is missing, or the id of an added token does not continue the vocabulary.
    """

    pad_token_type_id: ClassVar[int] = 0
    clean_up_tokenization_spaces: bool

    unk_token, unk_token_id = SpecialToken(), SpecialTokenId()
    sep_token, sep_token_id = SpecialToken(), SpecialTokenId()
    pad_token, pad_token_id = SpecialToken(), SpecialTokenId()
    cls_token, cls_token_id = SpecialToken(), SpecialTokenId()
    mask_token, mask_token_id = SpecialToken(), SpecialTokenId()

    def __init__(
        self,
        tokens: Sequence[str],
        added: Mapping[int, AddedToken],
        roles: Mapping[str, str | AddedToken],
        additional: Sequence[str | AddedToken],
    ) -> None:
        self._tokens = list(tokens)
        self._base_size = len(self._tokens)
        self._ids = {token: index for index, token in enumerate(self._tokens)}
        self._added: dict[int, AddedToken] = {}
        self._special = {role: str(token) for role, token in roles.items()}
        self._additional = [str(token) for token in additional]
        self._add(added[index] for index in sorted(added))
        wrong = [f"{token.content!r} {index}" for index, token in added.items() if self._ids[token.content] != index]
        if wrong:
            raise ValueError(f"added tokens whose ids do not continue the vocabulary's: {', '.join(wrong)}")
        missing = sorted(set(self._special.values()) - self._ids.keys())
        if missing:
            raise ValueError(f"the vocabulary lacks the special tokens {', '.join(missing)}")
        self._check_unknown(self._special["unk_token"])
        for token in (*roles.values(), *additional):
            self._make_special(token)

    @abstractmethod
    def _prepare(self) -> None:
        """Build whatever depends on the tokens; called whenever they change."""

    # From ids to text

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> str:
        """Turn one row of ids, a list or a tensor, or a single id, back into text.

        Spaces before punctuation and contractions are removed token by token. clean_up_tokenization_spaces (None: the tokenizer's
        attribute) removes them again from the whole text, which also catches those that span tokens.
        """
        ids = listed(token_ids)
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
        """Decode several rows of ids."""
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in listed(sequences)]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Join tokens into a text: one with ## is appended to the word before it, any other follows a space."""
        joined = list(tokens[:1])
        for token in tokens[1:]:
            joined.append(token[2:] if token.startswith("##") else f" {token}")
        return "".join(_clean(token, CLEANED_IN_TOKENS) for token in joined)

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...

    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int], skip_special_tokens: bool = False) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: int | Iterable[int], skip_special_tokens: bool = False) -> str | list[str]:
        """Return the token of an id, or the tokens of several ids."""
        if isinstance(ids, int):
            return self._tokens_of([ids], skip_special_tokens=False)[0]
        return self._tokens_of(listed(ids), skip_special_tokens)

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...  # type: ignore[overload-overlap]  # a str counts as one

    @overload
    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> int | list[int]:
        """Return the id of a token, or the ids of several; a token outside the vocabulary has the id of the unknown token."""
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
            raise TypeError(f"an id must be a whole number; got {ids!r:.80}") from None

    # Special tokens

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        return 3 if pair else 2

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Return [CLS] 0 [SEP], or [CLS] 0 [SEP] 1 [SEP]."""
        row = [self.cls_token_id, *token_ids_0, self.sep_token_id]
        return row if token_ids_1 is None else [*row, *token_ids_1, self.sep_token_id]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Return 0 for each token of [CLS] 0 [SEP] and 1 for each of 1 [SEP]."""
        return [0] * (len(token_ids_0) + 2) + ([] if token_ids_1 is None else [1] * (len(token_ids_1) + 1))

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """Return 1 for each special token of a row and 0 for the others.

        Args:
            token_ids_0, token_ids_1: the ids of the texts; with already_has_special_tokens, token_ids_0 is the whole row.
        """
        if already_has_special_tokens:
            if token_ids_1 is not None:
                raise ValueError("with already_has_special_tokens, token_ids_0 is the whole row and token_ids_1 must be None")
            special = set(self.all_special_ids)
            return [int(index in special) for index in token_ids_0]
        second = [] if token_ids_1 is None else [*[0] * len(token_ids_1), 1]
        return [1, *[0] * len(token_ids_0), 1, *second]

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """{role: token}, and the additional special tokens if there are any."""
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
        """The size of the vocabulary without added tokens; len(tokenizer) includes them."""
        return self._base_size

    def __len__(self) -> int:
        return len(self._tokens)

    def get_vocab(self) -> dict[str, int]:
        """Return {token: id}, including added tokens."""
        return dict(self._ids)

    @property
    def vocab(self) -> dict[str, int]:
        return self.get_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """{id: token} of the special and added tokens, which are found in a text before it is split."""
        return {index: self._added[index] for index in sorted(self._added)}

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        return {token.content: index for index, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        return self.added_tokens_encoder

    def add_tokens(
        self, new_tokens: str | AddedToken | Sequence[str | AddedToken], special_tokens: bool = False
    ) -> int:
        """Add tokens that are found in a text before it is split. The model's embeddings need as many new rows.

        Args:
            new_tokens: a plain string is looked for in the normalized text, or, if special, in the original.
            special_tokens: decoding can skip the tokens.
        Returns:
            How many of them are new to the vocabulary.
        """
        tokens = [new_tokens] if isinstance(new_tokens, (str, AddedToken)) else new_tokens
        before = len(self)
        self._add([_added_token(token, special_tokens) for token in tokens])
        self._prepare()
        return len(self) - before

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_additional_special_tokens: bool = True
    ) -> int:
        """Give tokens a role, and add those that are new.

        Args:
            special_tokens_dict: {"cls_token": token, …, "additional_special_tokens": [token, …]}.
        Returns:
            How many of them are new to the vocabulary.
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
            check_token(token.content)
            if (token.lstrip or token.rstrip) and _is_blank(token.content):
                raise ValueError(f"the added token {token.content!r} is white space and cannot have lstrip or rstrip")
            if token.content not in self._ids:
                self._ids[token.content] = len(self._tokens)
                self._tokens.append(token.content)
            self._added[self._ids[token.content]] = token

    def _check_unknown(self, token: str) -> None:
        if self._ids[token] >= self._base_size:
            raise ValueError(f"the unknown token {token!r} is an added token: it must be in the vocabulary itself")

    def _make_special(self, token: str | AddedToken) -> None:
        """Make sure that a token is an added one, and special."""
        known = self._added.get(self._ids.get(str(token), -1))
        if known is None or not known.special:
            self._add([_added_token(known or token, special=True)])

    def _set_special(self, role: str, token: str | AddedToken) -> None:
        if str(token) not in self._ids:
            raise ValueError(f"{role}: {str(token)!r} is not in the vocabulary; add_special_tokens adds it")
        if role == "unk_token":
            self._check_unknown(str(token))
        self._make_special(token)
        self._special[role] = str(token)
        self._prepare()


def _added_token(token: str | AddedToken, special: bool) -> AddedToken:
    """Make an AddedToken; a plain string is looked for in the normalized text unless it is special."""
    if isinstance(token, AddedToken):
        if not special or token.special:
            return token
        flags = {name: getattr(token, name) for name in ("single_word", "lstrip", "rstrip", "normalized")}
        return AddedToken(token.content, **flags, special=True)
    if not isinstance(token, str):
        raise TypeError(f"a token must be a str or an AddedToken, not {type(token).__name__}")
    return AddedToken(token, normalized=not special, special=special)


def _is_blank(text: str) -> bool:
    """Whether a text is white space, or may be after normalization.

    The Rust library also finds such a token within white space that it has just stripped. Stripping again makes it panic (lstrip) or
    takes quadratic time (rstrip).
    """
    return all(unicodedata.category(char)[0] in "CZM" for char in text)


def _in(index: int, tokens: Sequence[str]) -> bool:
    if not 0 <= index < len(tokens):
        raise ValueError(f"there is no token with the id {index}: the vocabulary has {len(tokens):,}")
    return True


def _clean(text: str, replacements: Sequence[tuple[str, str]]) -> str:
    for old, new in replacements:
        text = text.replace(old, new)
    return text
