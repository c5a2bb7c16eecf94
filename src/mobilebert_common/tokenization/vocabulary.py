"""The tokens of a tokenizer: ids, roles, added tokens, and decoding."""

import operator
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar, overload

from tokenizers import AddedToken

from .arguments import listed
from .storage import ADDED_ROLES, ADDITIONAL, check_token, token_list

# (old, new) to replace in decoded text; single tokens have a list of their own because none contains " ' "
_MARKS = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","))
_CONTRACTIONS = ((" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"))
CLEANED_IN_TOKENS = (*_MARKS, *_CONTRACTIONS)
CLEANED_IN_TEXT = (*_MARKS, (" ' ", "'"), *_CONTRACTIONS)


class SpecialToken:
    """Attribute for the token with a role, or None: `tokenizer.mask_token`. A token assigned to it must be in the vocabulary."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, tokenizer: "Vocabulary", owner: type | None = None) -> str | None:
        return tokenizer._special[self.name]

    def __set__(self, tokenizer: "Vocabulary", token: str | AddedToken | None) -> None:
        tokenizer._set_special(self.name, token)


class SpecialTokenId:
    """Attribute for the id of the token with a role, or None: `tokenizer.mask_token_id`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    def __get__(self, tokenizer: "Vocabulary", owner: type | None = None) -> int | None:
        token = tokenizer._special[self.name]
        return None if token is None else tokenizer._ids[token]

    def __set__(self, tokenizer: "Vocabulary", index: int | None) -> None:
        tokenizer._set_special(self.name, None if index is None else tokenizer.convert_ids_to_tokens(index))


class Vocabulary(ABC):
    """Tokens and ids, the same for both MobileBERT tokenizers.

    Args:
        tokens: the vocabulary, in the order of the ids.
        added: {id: token}, the tokens that were added earlier.
        roles: {role: token or None} for every role.
        additional: more special tokens; new ones are added, and so are those of bos_token and eos_token.
    Raises:
        ValueError: the token of another role is missing, or the id of an added token does not continue the vocabulary.
    """

    pad_token_type_id: ClassVar[int] = 0
    clean_up_tokenization_spaces: bool

    bos_token, bos_token_id = SpecialToken(), SpecialTokenId()
    eos_token, eos_token_id = SpecialToken(), SpecialTokenId()
    unk_token, unk_token_id = SpecialToken(), SpecialTokenId()
    sep_token, sep_token_id = SpecialToken(), SpecialTokenId()
    pad_token, pad_token_id = SpecialToken(), SpecialTokenId()
    cls_token, cls_token_id = SpecialToken(), SpecialTokenId()
    mask_token, mask_token_id = SpecialToken(), SpecialTokenId()

    def __init__(
        self,
        tokens: Sequence[str],
        added: Mapping[int, AddedToken],
        roles: Mapping[str, str | AddedToken | None],
        additional: Sequence[str | AddedToken],
    ) -> None:
        self._tokens = list(tokens)
        self._base_size = len(self._tokens)
        self._ids = {token: index for index, token in enumerate(self._tokens)}
        self._added: dict[int, AddedToken] = {}
        self._special = {role: None if token is None else str(token) for role, token in roles.items()}
        self._additional = [str(token) for token in token_list("additional_special_tokens", additional)]
        self._add(added[index] for index in sorted(added))
        wrong = [f"{token.content!r} {index}" for index, token in added.items() if self._ids[token.content] != index]
        if wrong:
            raise ValueError(f"added tokens whose ids do not continue the vocabulary's: {', '.join(wrong)}")
        required = {token for role, token in self._special.items() if token is not None and role not in ADDED_ROLES}
        missing = sorted(required - self._ids.keys())
        if missing:
            raise ValueError(f"the vocabulary lacks the special tokens {', '.join(missing)}")
        self._check_unknown(self._special["unk_token"])
        for token in (*(roles[role] for role in sorted(roles, key=ADDED_ROLES.__contains__)), *additional):
            if token is not None:
                self._make_special(token)

    @abstractmethod
    def _prepare(self) -> None:
        """Build whatever depends on the tokens; called whenever they change."""

    # From ids to text

    @overload
    def decode(
        self,
        token_ids: int | list[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool = True,
    ) -> str: ...

    @overload
    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool = True,
    ) -> Any: ...

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool = True,
    ) -> Any:
        """Turn one row of ids, a list or a tensor, or a single id, back into text; a list of rows gives a list of texts.

        Spaces before punctuation and contractions are removed token by token. clean_up_tokenization_spaces (None: the tokenizer's
        attribute) removes them again from the whole text, which also catches those that span tokens.
        spaces_between_special_tokens=False leaves out the spaces around tokens that were added to the vocabulary.
        """
        options = skip_special_tokens, clean_up_tokenization_spaces, spaces_between_special_tokens
        ids = listed(token_ids)
        if isinstance(ids, list) and ids and isinstance(ids[0], list):
            return [self._decode(row, *options) for row in ids]
        return self._decode(ids if isinstance(ids, list) else [ids], *options)

    def _decode(self, ids: list[int], skip_special: bool, clean: bool | None, spaces: bool) -> str:
        tokens = self._tokens_of(ids, skip_special)
        if spaces:
            text = self.convert_tokens_to_string(tokens)
        else:
            runs = groupby(tokens, lambda token: self._ids[token] >= self._base_size)
            text = "".join("".join(run) if added else self.convert_tokens_to_string([*run]) for added, run in runs)
        clean = self.clean_up_tokenization_spaces if clean is None else clean
        return _clean(text, CLEANED_IN_TEXT) if clean else text

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool = True,
    ) -> list[str]:
        """Decode several rows of ids; of a flat list of ids, each by itself."""
        options = skip_special_tokens, clean_up_tokenization_spaces, spaces_between_special_tokens
        return [self.decode(row, *options) for row in listed(sequences)]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Join tokens into a text: one with ## is appended to the word before it, any other follows a space."""
        joined = list(tokens[:1])
        for token in tokens[1:]:
            joined.append(token[2:] if token.startswith("##") else f" {token}")
        return "".join(_clean(token, CLEANED_IN_TOKENS) for token in joined)

    @staticmethod
    def clean_up_tokenization(text: str) -> str:
        """Remove the spaces before punctuation and contractions."""
        return _clean(text, CLEANED_IN_TEXT)

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...

    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int], skip_special_tokens: bool = False) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: int | Iterable[int], skip_special_tokens: bool = False) -> str | list[str]:
        """Return the token of an id, or the tokens of several ids."""
        values = listed(ids)
        if isinstance(values, int):
            return self._tokens_of([values], skip_special_tokens=False)[0]
        return self._tokens_of(values, skip_special_tokens)

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...  # type: ignore[overload-overlap]  # a str counts as one

    @overload
    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> int | list[int]:
        """Return the id of a token, or the ids of several; a token outside the vocabulary has the id of the unknown token."""
        unknown: Any = self.unk_token_id
        if isinstance(tokens, str):
            index: int = self._ids.get(tokens, unknown)
            return index
        return [self._ids.get(token, unknown) for token in tokens]

    _convert_id_to_token = convert_ids_to_tokens  # the name that a collator of transformers 4 calls

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
        cls, sep = (self._ids[self._token(role)] for role in ("cls_token", "sep_token"))
        return [cls, *token_ids_0, sep] if token_ids_1 is None else [cls, *token_ids_0, sep, *token_ids_1, sep]

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
            return [int(index in special) for index in listed(token_ids_0)]
        second = [] if token_ids_1 is None else [*[0] * len(token_ids_1), 1]
        return [1, *[0] * len(token_ids_0), 1, *second]

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """{role: token}, and the additional special tokens if there are any."""
        roles: dict[str, str | list[str]] = {role: token for role, token in self._special.items() if token is not None}
        return roles | ({"additional_special_tokens": self.additional_special_tokens} if self._additional else {})

    @property
    def additional_special_tokens(self) -> list[str]:
        """Special tokens without a role; those assigned must be in the vocabulary."""
        return list(self._additional)

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Sequence[str | AddedToken] | None) -> None:
        given = token_list("additional_special_tokens", tokens)
        unknown = [str(token) for token in given if str(token) not in self._ids]
        if unknown:
            raise ValueError(f"not in the vocabulary: {', '.join(map(repr, unknown))}; add_special_tokens adds them")
        for token in given:
            self._make_special(token)
        self._additional = list(dict.fromkeys(map(str, given)))
        self._prepare()

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        return self.convert_tokens_to_ids(self._additional)

    @additional_special_tokens_ids.setter
    def additional_special_tokens_ids(self, ids: Sequence[int]) -> None:
        self.additional_special_tokens = self.convert_ids_to_tokens(ids)

    extra_special_tokens = additional_special_tokens  # their names in transformers 5
    extra_special_tokens_ids = additional_special_tokens_ids

    @property
    def all_special_tokens(self) -> list[str]:
        return list(dict.fromkeys(token for token in (*self._special.values(), *self._additional) if token is not None))

    @property
    def all_special_ids(self) -> list[int]:
        return self.convert_tokens_to_ids(self.all_special_tokens)

    @property
    def special_tokens_map_extended(self) -> dict[str, AddedToken | list[AddedToken]]:
        """`special_tokens_map` with the options of each token."""
        found = self.special_tokens_map.items()
        return {role: self._with_options(token) if isinstance(token, str) else [*map(self._with_options, token)] for role, token in found}

    @property
    def all_special_tokens_extended(self) -> list[AddedToken]:
        """`all_special_tokens` with the options of each token."""
        return [*map(self._with_options, self.all_special_tokens)]

    def _with_options(self, token: str) -> AddedToken:
        return self._added[self._ids[token]]

    def _token(self, role: str) -> str:
        """Return the token with a role that a call needs."""
        token = self._special[role]
        if token is None:
            raise ValueError(f"the tokenizer has no {role}, which this needs: assign one to tokenizer.{role}")
        return token

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
        if not new_tokens:
            return 0
        tokens = [new_tokens] if isinstance(new_tokens, (str, AddedToken)) else new_tokens
        before = len(self)
        self._add([_added_token(token, special_tokens) for token in tokens])
        self._prepare()
        return len(self) - before

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, Any],
        replace_additional_special_tokens: bool = True,
        replace_extra_special_tokens: bool = True,
    ) -> int:
        """Give tokens a role, and add those that are new.

        Args:
            special_tokens_dict: {"cls_token": token, …, "additional_special_tokens": [token, …]}; transformers 5 says
                extra_special_tokens.
            replace_additional_special_tokens, replace_extra_special_tokens: False keeps those there are.
        Returns:
            How many of them are new to the vocabulary.
        """
        roles = dict(special_tokens_dict)
        names = [name for name in ADDITIONAL if name in roles]
        if len(names) > 1:
            raise ValueError(f"{' and '.join(names)} are two names of one thing: give one of them")
        additional = [token for name in names for token in token_list(name, roles.pop(name))]
        unknown = sorted(roles.keys() - self._special.keys())
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: not one of {', '.join(self._special)}, additional_special_tokens")
        for role, token in roles.items():
            if not isinstance(token, str | AddedToken):
                raise ValueError(f"{role} must be a str or an AddedToken, not {token!r:.80}")
        count = self.add_tokens([*roles.values(), *additional], special_tokens=True)
        for role, token in roles.items():
            self._set_special(role, token)
        if additional:
            kept = self._additional if not (replace_additional_special_tokens and replace_extra_special_tokens) else []
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

    def _check_unknown(self, token: str | None) -> None:
        if token is not None and self._ids[token] >= self._base_size:
            raise ValueError(f"the unknown token {token!r} is an added token: it must be in the vocabulary itself")

    def _make_special(self, token: str | AddedToken) -> None:
        """Make sure that a token is an added one, and special."""
        known = self._added.get(self._ids.get(str(token), -1))
        if known is None or not known.special:
            self._add([_added_token(known or token, special=True)])

    def _set_special(self, role: str, token: str | AddedToken | None) -> None:
        if token is None:
            self._special[role] = None
            self._prepare()
            return
        if not isinstance(token, str | AddedToken):
            raise TypeError(f"{role} must be a str, an AddedToken or None, not {type(token).__name__}")
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
