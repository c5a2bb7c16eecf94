"""Check the arguments of a tokenizer call and bring them to one form."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

Text = str | Sequence[str]  # one text, or the words of one text
Texts = Text | Sequence[Text]


def split_inputs(
    text: Texts | None, text_pair: Texts | None, is_split_into_words: bool
) -> tuple[Sequence[Text], Sequence[Text | None], bool]:
    """Return the first texts, the second text or None of each, and whether the caller gave a batch."""
    if is_split_into_words:
        batched = isinstance(text, (list, tuple)) and bool(text) and isinstance(text[0], (list, tuple))
    else:
        batched = isinstance(text, (list, tuple))
    if not batched:
        return [text], [text_pair or None], False  # type: ignore[list-item]  # check_texts checks the types
    if text_pair is None:
        pairs = [_pair(item, is_split_into_words) for item in text]  # type: ignore[union-attr]
        return [first for first, _ in pairs], [second for _, second in pairs], True
    if not isinstance(text_pair, (list, tuple)):
        raise TypeError("text is a list, so text_pair must be a list of the same length")
    if len(text) != len(text_pair):  # type: ignore[arg-type]
        raise ValueError(f"text has {len(text)} entries and text_pair has {len(text_pair)}")  # type: ignore[arg-type]
    if any(second is None for second in text_pair):
        raise TypeError("a text must be a str, or a list of str for a batch, not None: text_pair has one")
    return text, text_pair, True  # type: ignore[return-value]


def _pair(item: Any, is_split_into_words: bool) -> tuple[Any, Any]:
    """Split an entry of a batch into its first text and its second, or None; a pair is a tuple or a list of two."""
    if not isinstance(item, (list, tuple)) or (is_split_into_words and not (item and isinstance(item[0], (list, tuple)))):
        return item, None
    if len(item) != 2 or any(text is None for text in item):
        raise TypeError(f"a text must be a str, or a pair of them, not a {type(item).__name__} of {len(item)}: {item!r:.80}")
    return item[0], item[1]


def check_given(text: Any) -> None:
    """Check that there is a text at all."""
    if text is None:
        raise TypeError("a text must be a str, or a list of str for a batch, not None")


def check_texts(texts: Sequence[Text], is_split_into_words: bool) -> None:
    """Check that every text can be tokenized.

    Raises:
        TypeError: a text is not a string, or not a list of strings.
        ValueError: a text has a lone surrogate, which UTF-8 cannot encode.
    """
    for text in texts:
        if is_split_into_words and not isinstance(text, (list, tuple)):
            raise TypeError(f"with is_split_into_words a text is a list of words, not {type(text).__name__}")
        for word in text if is_split_into_words else [text]:
            if not isinstance(word, str):
                raise TypeError(
                    f"a text must be a str, or a list of str for a batch, not {type(word).__name__}"
                )
            try:
                word.encode()
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"a text has a lone surrogate, U+{ord(word[error.start]):04X}, at {error.start}"
                ) from None


def one_of(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Check an argument that takes one of a few strings."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return str(value)


def strings(name: str, value: Any, allowed: Sequence[str]) -> list[str]:
    """Check an argument that takes a list of some of a few strings, the first among them."""
    if not isinstance(value, list | tuple) or not set(value) <= {*allowed} or allowed[0] not in value:
        raise ValueError(f"{name} must be a list of {allowed[0]!r} and some of {', '.join(map(repr, allowed[1:]))}, not {value!r:.80}")
    return list(value)


def strategy(name: str, value: bool | str, allowed: Sequence[str]) -> str:
    """Return the name of a strategy; True means the first of `allowed`, False the last."""
    if isinstance(value, bool):
        return allowed[0 if value else -1]
    if value not in allowed:
        raise ValueError(f"{name} must be True, False or one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


def whole(name: str, value: Any, least: int) -> int:
    """Check an argument that takes an integer of at least `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
    if number < least or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return number


def kind_of(value: Any) -> str | None:
    """Return the return_tensors that gives what a value is, or the items of a list are: "np", "pt", "tf", or None for lists."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    modules = {"numpy": "np", "torch": "pt", "tensorflow": "tf"}
    return modules.get(type(value).__module__.partition(".")[0]) if hasattr(value, "shape") else None


def listed(value: Any) -> Any:
    """Convert a tensor, or a list that may contain tensors, to plain lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "numpy"):
        return value.numpy().tolist()
    if isinstance(value, (list, tuple)):
        return [listed(item) for item in value] if value and not isinstance(value[0], int) else list(value)
    return value


def stack(samples: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn a list of samples into {name: [value of each sample]}."""
    names = samples[0].keys() if samples else ["input_ids"]
    if any(sample.keys() != names for sample in samples):
        raise ValueError("the samples to pad have different keys")
    return {name: [sample[name] for sample in samples] for name in names}


def fill(row: list[int], filler: int, length: int, side: str) -> list[int]:
    """Pad a row to a length on one side; leave a longer row alone."""
    padding = [filler] * (length - len(row))
    return row + padding if side == "right" else padding + row
