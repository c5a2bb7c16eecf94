"""The interface of both MobileBERT tokenizers: construction, files, training.

A subclass implements `_segments`: texts in; ids, offsets and word numbers out. Calling is in calling.py, tokens and ids in vocabulary.py.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from tokenizers import AddedToken

from .. import keywords
from ..errors import CheckpointError
from ..files import hub
from ..files.folder import Folder, save_files
from . import storage
from .arguments import one_of, strings, whole
from .calling import UNLIMITED, Calling
from .keys import refuse_unknown
from .learning import learn_vocabulary
from .shaping import SIDES

MAX_LENGTH = 512  # tokens; MobileBERT has as many positions
VERY_LARGE = 10**30  # what transformers writes where a tokenizer has no limit
INPUTS = ("input_ids", "token_type_ids", "attention_mask")


class Setting:
    """Attribute for an option that changes how a text is split; assigning it rebuilds the tokenizer."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, tokenizer: "MobileBertTokenizerBase", owner: type | None = None) -> Any:
        return tokenizer._settings[self.name]

    def __set__(self, tokenizer: "MobileBertTokenizerBase", value: Any) -> None:
        before = tokenizer._settings
        tokenizer._settings = before | {self.name: value}
        try:
            tokenizer._prepare()
        except ValueError:
            tokenizer._settings = before
            raise


class MobileBertTokenizerBase(Calling):
    """The interface of both MobileBERT tokenizers.

    Args:
        vocab_file: vocab.txt, one token per line; or what vocab is.
        vocab: the tokens in the order of their ids, or {token: id}, instead of a file; or what vocab_file is.
        tokenizer_file: tokenizer.json, instead of vocab_file; its tokens are used, its options are not.
        do_lower_case: lower-case the text.
        do_basic_tokenize: normalize, and split at punctuation; False only in MobileBertTokenizer.
        never_split: words to keep whole, one token each; only in MobileBertTokenizer.
        unk_token, sep_token, pad_token, cls_token, mask_token: the special tokens; they must be in the vocabulary. A call that needs
            one that is None is an error.
        bos_token, eos_token: special tokens without a use in BERT; new ones are added.
        additional_special_tokens, extra_special_tokens: more tokens that are never split and that decoding can skip; new ones are added.
        tokenize_chinese_chars: make every CJK ideograph a word of its own.
        strip_accents: drop accents; None means: if do_lower_case.
        model_max_length: the longest row the model accepts, in tokens; None means no limit.
        padding_side, truncation_side: "right" or "left".
        clean_up_tokenization_spaces: whether `decode` cleans up spaces over the whole text as well; see there.
        split_special_tokens: treat special tokens in a text like any other text.
        model_input_names: what a call returns unless told otherwise, of input_ids, token_type_ids and attention_mask.
        added_tokens_decoder: {id: token}, the tokens that were added to the vocabulary earlier.
        others: see keys.py: arguments of transformers' tokenizers that change nothing here.
    Raises:
        CheckpointError: a file is unusable.
        ValueError, TypeError: an argument is invalid or unknown.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {
        "vocab_file": storage.VOCAB_FILE,
        "tokenizer_file": storage.TOKENIZER_FILE,
    }
    SPECIAL_TOKENS_ATTRIBUTES: ClassVar[list[str]] = [*storage.ROLES]

    do_lower_case, do_basic_tokenize, never_split = Setting(), Setting(), Setting()
    tokenize_chinese_chars, strip_accents = Setting(), Setting()

    def __init__(
        self,
        vocab_file: str | Path | Sequence[str] | Mapping[str, int] | None = None,
        *,
        vocab: str | Path | Sequence[str] | Mapping[str, int] | None = None,
        tokenizer_file: str | Path | None = None,
        do_lower_case: bool = True,
        do_basic_tokenize: bool = True,
        never_split: Iterable[str] | None = None,
        unk_token: str | AddedToken | None = "[UNK]",
        sep_token: str | AddedToken | None = "[SEP]",
        pad_token: str | AddedToken | None = "[PAD]",
        cls_token: str | AddedToken | None = "[CLS]",
        mask_token: str | AddedToken | None = "[MASK]",
        bos_token: str | AddedToken | None = None,
        eos_token: str | AddedToken | None = None,
        additional_special_tokens: Sequence[str | AddedToken] | None = None,
        extra_special_tokens: Sequence[str | AddedToken] | None = None,
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        model_max_length: int | None = MAX_LENGTH,
        padding_side: str = "right",
        truncation_side: str = "right",
        clean_up_tokenization_spaces: bool = False,
        split_special_tokens: bool = False,
        model_input_names: Sequence[str] = INPUTS,
        added_tokens_decoder: Mapping[int, AddedToken] | None = None,
        **others: Any,
    ) -> None:
        refuse_unknown(type(self), others)
        tokens, read = _tokens(vocab_file, vocab, tokenizer_file)
        if additional_special_tokens and extra_special_tokens:
            raise ValueError("additional_special_tokens and extra_special_tokens are one thing: give one of them")
        given = {
            "bos_token": bos_token,
            "eos_token": eos_token,
            "unk_token": unk_token,
            "sep_token": sep_token,
            "pad_token": pad_token,
            "cls_token": cls_token,
            "mask_token": mask_token,
        }
        additional = storage.token_list("additional_special_tokens", additional_special_tokens or extra_special_tokens)
        try:
            super().__init__(tokens, {**read, **(added_tokens_decoder or {})}, given, additional)
        except ValueError as error:
            source = next((place for place in (vocab_file, vocab, tokenizer_file) if isinstance(place, str | Path)), None)
            raise error if source is None else CheckpointError(source, str(error)) from None
        self._settings: dict[str, Any] = {
            "do_lower_case": do_lower_case,
            "do_basic_tokenize": do_basic_tokenize,
            "never_split": [storage.check_token(word) for word in never_split or ()],
            "tokenize_chinese_chars": tokenize_chinese_chars,
            "strip_accents": strip_accents,
        }
        self.model_max_length = VERY_LARGE if model_max_length is None else whole("model_max_length", model_max_length, 1)
        self.padding_side = one_of("padding_side", padding_side, SIDES)
        self.truncation_side = one_of("truncation_side", truncation_side, SIDES)
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self.split_special_tokens = split_special_tokens
        self.model_input_names = strings("model_input_names", model_input_names, INPUTS)
        self.name_or_path = str(others.get("name_or_path", ""))
        self.deprecation_warnings = {}
        self._prepare()

    # What a subclass implements, besides _prepare and _segments

    @abstractmethod
    def words(self, text: str) -> list[str]:
        """Split a text into normalized words, not yet into pieces. Added tokens are treated like any text."""

    # What others read from a tokenizer

    @property
    def init_kwargs(self) -> dict[str, Any]:
        """The arguments of the constructor as they are now: it makes an equal tokenizer of them."""
        elsewhere = dict.fromkeys(("vocab_file", "tokenizer_file", "extra_special_tokens"))
        return {**self._arguments(), **elsewhere, "name_or_path": self.name_or_path}

    @property
    def init_inputs(self) -> tuple[()]:
        """The positional arguments of the constructor beside the vocabulary: there are none."""
        return ()

    @property
    def add_bos_token(self) -> bool:
        """Whether a row starts with bos_token; it starts with [CLS]."""
        return False

    @property
    def add_eos_token(self) -> bool:
        """Whether a row ends with eos_token; it ends with [SEP]."""
        return False

    @property
    def max_len_single_sentence(self) -> int:
        """How many tokens of one text the model takes."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=False)

    @property
    def max_len_sentences_pair(self) -> int:
        """How many tokens of two texts together the model takes."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    # Training

    def train_new_from_iterator(
        self,
        text_iterator: Iterable[str | Sequence[str]],
        vocab_size: int,
        length: int | None = None,
        new_special_tokens: Sequence[str | AddedToken] | None = None,
        special_tokens_map: Mapping[str, str] | None = None,
        *,
        min_frequency: int = 0,
        show_progress: bool = False,
    ) -> Self:
        """Learn a new vocabulary for a tokenizer with the same options; see learn_vocabulary.

        Args:
            text_iterator: texts, or lists of texts.
            vocab_size: the maximum number of tokens.
            length, show_progress: for transformers' progress bar; there is none here.
            new_special_tokens: more special tokens.
            special_tokens_map: {special token of this tokenizer: its new form}.
            min_frequency: how often a pair of pieces must occur to be merged.
        """
        renamed = special_tokens_map or {}
        new = storage.token_list("new_special_tokens", new_special_tokens)
        unknown = sorted(renamed.keys() - set(self.all_special_tokens))
        if unknown:
            raise ValueError(f"special_tokens_map: {', '.join(map(repr, unknown))}: not a special token of this tokenizer")
        roles = {role: token and renamed.get(token, token) for role, token in self._special.items()}
        additional = [renamed.get(token, token) for token in self._additional]
        known = [token.content for token in self.added_tokens_decoder.values() if token.special]
        tokens = learn_vocabulary(
            _each(text_iterator),
            vocab_size,
            min_frequency=min_frequency,
            do_lower_case=self.do_lower_case,
            tokenize_chinese_chars=self.tokenize_chinese_chars,
            strip_accents=self.strip_accents,
            special_tokens=[*(renamed.get(token, token) for token in known), *map(str, new)],
        )
        options = {name: getattr(self, name) for name in storage.OPTIONS}
        return type(self)(vocab=tokens, **{**options, **roles, "additional_special_tokens": [*additional, *new]})

    # Files

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path | Folder, **options: Any) -> Self:
        """Open a tokenizer that this class or transformers saved.

        Reads tokenizer.json and vocab.txt (one may be missing; two must agree) and, where present, tokenizer_config.json,
        special_tokens_map.json, added_tokens.json, and config.json, whose max_position_embeddings caps model_max_length.
        `options` override tokenizer_config.json, which overrides tokenizer.json, which overrides the defaults.

        Args:
            pretrained_model_name_or_path: a folder or, as a str, a name on the hub; or a file: vocab.txt or tokenizer.json.
            options: arguments of the constructor; hub.Options; what keywords.OPENING_TOKENIZER accepts.
        Raises:
            CheckpointError: a file is missing, damaged, or not part of a MobileBERT tokenizer.
            ConfigError: an option of transformers is not supported.
            OSError, ImportError: see hub.resolve.
        """
        where, _, overrides = keywords.sort_options(options, keywords.OPENING_TOKENIZER)
        file = None if isinstance(pretrained_model_name_or_path, Folder) else Path(pretrained_model_name_or_path)
        if file is not None and file.is_file():
            kind = "tokenizer_file" if file.suffix == ".json" else "vocab_file"
            return cls(**{kind: file, "name_or_path": str(file), **overrides})
        directory = hub.resolve(pretrained_model_name_or_path, [*storage.FILES], **where)
        stored = storage.read_directory(directory, default_length=MAX_LENGTH, unlimited=UNLIMITED)
        merged = {"vocab": stored.tokens, "added_tokens_decoder": stored.added, **stored.options, **overrides}
        if overrides.keys() & {"vocab", "vocab_file", "tokenizer_file"}:  # they replace the vocabulary of the folder
            merged = {**stored.options, **overrides}
        if "extra_special_tokens" in overrides:
            merged.pop("additional_special_tokens", None)
        try:
            tokenizer = cls(**merged)
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
        lacking = [role for role in storage.ROLES if arguments[role] is None and role not in storage.OPTIONAL_ROLES]
        if lacking:
            raise ValueError(f"a tokenizer without {', '.join(lacking)} cannot be saved")
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
            "added_tokens_decoder": self.added_tokens_decoder,
            **self._special,
            **options,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        state = {"name_or_path": self.name_or_path, "deprecation_warnings": dict(self.deprecation_warnings)}
        return _restore, (type(self), self._arguments(), state)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size}, model_max_length={self.model_max_length})"


def _prefixed(name: str, prefix: str | None) -> str:
    return f"{prefix}-{name}" if prefix else name


def _restore(
    cls: type[MobileBertTokenizerBase], arguments: dict[str, Any], state: dict[str, Any]
) -> MobileBertTokenizerBase:
    tokenizer = cls(**arguments)
    vars(tokenizer).update(state)
    return tokenizer


def _tokens(
    vocab_file: Any, vocab: Any, tokenizer_file: str | Path | None
) -> tuple[list[str], Mapping[int, AddedToken]]:
    """Return the tokens of a vocabulary, and those added to it. A path is a file, anything else the vocabulary itself."""
    given = [value for value in (vocab_file, vocab) if value is not None]
    if len(given) > 1 or not (given or tokenizer_file):
        raise TypeError("give one of vocab_file, vocab and tokenizer_file")
    tokens = [_read(value) for value in given]
    if tokenizer_file is None:
        return tokens[0], {}
    stored = storage.read_tokenizer(Path(tokenizer_file))
    if tokens and tokens[0] != stored.tokens:
        raise CheckpointError(tokenizer_file, "has another vocabulary than the one given beside it")
    return stored.tokens, stored.added


def _read(vocabulary: Any) -> list[str]:
    """Read a vocabulary: a path is a file."""
    is_path = isinstance(vocabulary, str | Path)
    return storage.read_vocabulary(Path(vocabulary)) if is_path else storage.checked_tokens(vocabulary)


def _each(texts: Iterable[str | Sequence[str]]) -> Iterator[str]:
    """The texts of an iterator of texts or of lists of texts."""
    for item in texts:
        yield from [item] if isinstance(item, str) else item
