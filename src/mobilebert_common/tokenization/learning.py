"""Learn a small vocabulary from texts."""

from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from tokenizers.trainers import WordPieceTrainer

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def learn_vocabulary(
    texts: Iterable[str],
    vocab_size: int,
    *,
    min_frequency: int = 2,
    do_lower_case: bool = True,
    tokenize_chinese_chars: bool = True,
    strip_accents: bool | None = None,
    special_tokens: Sequence[str] = SPECIAL_TOKENS,
) -> list[str]:
    """Learn a WordPiece vocabulary: the special tokens, every character of the texts, and their most frequent pieces.

    The same texts give the same vocabulary. This is for demonstrations and tests; a published model needs the vocabulary it was
    trained with.

    Args:
        vocab_size: the maximum number of tokens.
        min_frequency: how often a pair of pieces must occur to be merged.
        special_tokens: the first tokens; the unknown token must be one of them.
    Returns:
        The tokens in the order of their ids.
    Raises:
        ValueError: vocab_size is too small for the special tokens and the characters.
    """
    normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=tokenize_chinese_chars,
        strip_accents=strip_accents,
        lowercase=do_lower_case,
    )
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = [[word for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))] for text in texts]
    characters = {char for text in words for word in text for char in word}
    following = {f"##{char}" for text in words for word in text for char in word[1:]}
    # in a fixed order: the library would number characters in the order of a hash table, and the numbers break ties
    given = [*dict.fromkeys([*special_tokens, *sorted(characters), *sorted(following)])]
    if vocab_size < len(given):
        raise ValueError(
            f"vocab_size={vocab_size} is too small for the special tokens and the characters, which are {len(given)}"
        )
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=given, show_progress=False
    )
    tokenizer.train_from_iterator((" ".join(text) for text in words), trainer)
    vocab = tokenizer.get_vocab()
    return sorted(vocab, key=vocab.__getitem__)
