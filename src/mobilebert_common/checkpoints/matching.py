"""What a weights file has, held against what a model needs: the source of each tensor, or all that is wrong at once.

`match` goes three steps: `_locate` finds where each tensor lies in the file, `_compare` holds shapes and copies against each other,
and `_decide` says which tensors start fresh, or raises one error with every finding.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import CheckpointError, shortened
from ..files.shard_index import VARIABLE
from ..model.architectures import ARCHITECTURES, named_architecture
from ..model.config import MobileBertConfig
from ..model.layout import layout_shape
from ..model.schema import (
    BIAS,
    DECODER,
    DECODER_BIAS,
    ENCODER,
    ROOT,
    TIED,
    WORDS,
    Foreign,
    Tensor,
    expand,
    expand_optional,
)
from .archive import Archive, Entry

BASE_PARTS = ("embeddings.", "encoder.", "pooler.")  # what a base model's file says without the root

WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")  # modules around a module
UNEXPECTED = " is unexpected"
OWN = "own."  # marks the blocks of layers that the schema does not know

Shape = tuple[int, ...]
Naming = Literal["canonical", "h5", "tf1", "garden"]  # how a file names its tensors
Places = Mapping[str, Foreign | None]  # {canonical name: where it is in the file, if its naming has a place for it}


@dataclass(frozen=True)
class Match:
    """Where a model's tensors come from.

    Attributes:
        config: the one asked for, with tie_word_embeddings as the file has it.
        expected: {canonical name: Tensor} of the model.
        source: {canonical name: where it lies in the file}; without the fresh ones.
        fresh: canonical names of tensors the model starts anew: the file does not have them, or has them in another shape.
        mismatched: those of another shape: {canonical name: (the file's shape, the model's)}.
        ignored: names in the file that this model has no use for.
    """

    config: MobileBertConfig
    expected: dict[str, Tensor]
    source: dict[str, Foreign]
    fresh: tuple[str, ...]
    mismatched: dict[str, tuple[Shape, Shape]]
    ignored: tuple[str, ...]


def match(
    archive: Archive,
    naming: Naming,
    config: MobileBertConfig,
    architecture: str,
    *,
    ignore_mismatched_sizes: bool = False,
    keep_tied: bool = False,
    without: Collection[str] = (),
    shapes: Mapping[str, Shape] | None = None,
    layers: int | None = None,
) -> Match:
    """Find every tensor of a model in a file.

    A pooler or a head that is not in the file at all is fresh; half of one is damage.

    Args:
        naming: how the file names and lays out its tensors.
        architecture: class name, see ARCHITECTURES.
        ignore_mismatched_sizes: tensors of another shape are fresh too.
        keep_tied: leave a decoder aside that differs from the word embeddings, where otherwise it is kept.
        without: blocks of the architecture that this model was made without.
        shapes: {name: shape} of all tensors of a model with layers of its own, which the schema does not know; they are
            found by their names alone, and a layer that the file does not have at all is fresh.
        layers: how many layers the file's model has, where the model asked for is cut down to its first ones.
    Raises:
        CheckpointError: tensors are missing, unexpected, mis-shaped or not floating-point: all in one error.
    """
    exact = shapes and shapes.keys() <= archive.entries.keys()  # a prefix that all names have is then a part of them
    names = {_rooted(name): name for name in archive.entries} if exact else normal_names(archive, naming)
    file = Listing(archive, naming, names)
    located = _locate(file, config, architecture, keep_tied=keep_tied, without=without, shapes=shapes, layers=layers)
    compared = _compare(file, located)
    model = architecture if shapes is None else "this class"
    return _decide(file, model, located, compared, ignore_mismatched_sizes=ignore_mismatched_sizes)


@dataclass(frozen=True)
class Listing:
    """A file's tensors under the names that the schema has for them.

    Attributes:
        names: {name as the schema has it: name in the file}.
    """

    archive: Archive
    naming: Naming
    names: dict[str, str]

    def place(self, tensor: Tensor) -> Foreign | None:
        """The name and layout of a tensor here, the same in every model; None where the naming has no place for it."""
        return _foreign(tensor, self.naming)

    def has(self, place: Foreign | None) -> bool:
        """Whether there is a tensor at a place."""
        return place is not None and place.name in self.names

    def entry(self, place: Foreign) -> Entry:
        """What the header says of the tensor at a place."""
        return self.archive.entries[self.names[place.name]]

    def differ(self, shape: Shape, one: Foreign | None, other: Foreign | None) -> bool:
        """Whether there are two tensors where one of this shape would do, and the other one is not its copy."""
        if one is None or other is None or not self.has(one) or not self.has(other):
            return False
        if self.entry(one).shape != shape or self.entry(other).shape != shape:  # read nothing of an unknown size
            return self.entry(other).shape != shape
        ours, theirs = self.names[one.name], self.names[other.name]
        arrays = self.archive.read([ours, theirs])
        return not np.array_equal(arrays[ours], arrays[theirs])


@dataclass(frozen=True)
class Located:
    """Where the tensors of a model lie in a file.

    Attributes:
        config: with tie_word_embeddings as the file has it.
        expected: {canonical name: Tensor} of the model.
        optional: the places of what a file may hold beyond the encoder, whatever the model.
        places: the places of `expected`, those of copies where the original is absent.
        source: those of `places` where the file has something.
        absent: canonical names of blocks that the file does not have at all.
        copied: whether copies of tied tensors belong to this model.
    """

    config: MobileBertConfig
    expected: dict[str, Tensor]
    optional: Places
    places: Places
    source: dict[str, Foreign]
    absent: set[str]
    copied: bool


def _locate(
    file: Listing,
    config: MobileBertConfig,
    architecture: str,
    *,
    keep_tied: bool,
    without: Collection[str],
    shapes: Mapping[str, Shape] | None,
    layers: int | None,
) -> Located:
    """Look every tensor up by its name; a lookup never reads data, but for a decoder that may not be tied."""
    optional = {tensor.name: file.place(tensor) for tensor in expand_optional(config).values()}
    optional.setdefault(DECODER_BIAS, Foreign(DECODER_BIAS, "same") if file.naming == "canonical" else None)
    if layers is not None:
        whole = expand(config.replace(num_hidden_layers=layers), "MobileBertModel")
        optional |= {name: file.place(tensor) for name, tensor in whole.items()}
    predicts = "predictions" in ARCHITECTURES[architecture].blocks
    if predicts and not keep_tied and _has_its_own_decoder(file, config, optional):
        config = config.replace(tie_word_embeddings=False)
    expected = {name: tensor for name, tensor in expand(config, architecture).items() if tensor.block not in without}
    if shapes is not None:
        expected = _with_own(expected, shapes)
    places = {name: file.place(tensor) for name, tensor in expected.items()}
    present = {*ENCODER, *(expected[name].block for name, place in places.items() if file.has(place))}
    places |= _stand_ins(file, config, places, optional)
    return Located(
        config=config,
        expected=expected,
        optional=optional,
        places=places,
        source={name: place for name, place in places.items() if place is not None and file.has(place)},
        absent={name for name, tensor in expected.items() if tensor.block not in present},
        copied=predicts and not keep_tied,
    )


def _with_own(tensors: Mapping[str, Tensor], shapes: Mapping[str, Shape]) -> dict[str, Tensor]:
    """The tensors of a model with layers of its own: those of the schema that it has, and its own."""
    if any(name.startswith(ROOT) for name in shapes):  # the base model is a part of this model
        tensors = {_rooted(name): tensor for name, tensor in tensors.items()}
    return {name: tensors[name] if name in tensors else _own(name, shape) for name, shape in shapes.items()}


def _own(name: str, shape: Shape) -> Tensor:
    """A tensor of a layer that the schema does not know; all tensors of one layer make a block."""
    module, _, last = name.rpartition(".")
    return Tensor(name, shape, module, f"{OWN}{name.partition('.')[0]}", Foreign(last, "same"), {})


@dataclass(frozen=True)
class Compared:
    """What of the located tensors is not as the model needs it.

    Attributes:
        mismatched: {canonical name: (the file's shape, the model's)}.
        findings: everything else that is wrong, a line each.
    """

    mismatched: dict[str, tuple[Shape, Shape]]
    findings: tuple[str, ...]


def _compare(file: Listing, located: Located) -> Compared:
    """Hold presence, shapes, dtypes and copies against the schema."""
    heads = located.config.num_attention_heads
    shapes = {
        name: (file.entry(place).shape, layout_shape(located.expected[name].shape, place.layout, heads))
        for name, place in located.source.items()
    }
    known = {place.name for place in (*located.places.values(), *located.optional.values()) if place}
    return Compared(
        mismatched={name: (found, wanted) for name, (found, wanted) in shapes.items() if found != wanted},
        findings=(
            *(f"{name} is missing" for name in _missing(located)),
            *_contradictions(file, located),
            *(f"{kept}{UNEXPECTED}" for name, kept in file.names.items() if name not in known),
            *(f"{name} holds integers" for name, place in located.source.items() if _holds_integers(file, located, name)),
        ),
    )


def _decide(
    file: Listing, model: str, located: Located, compared: Compared, *, ignore_mismatched_sizes: bool
) -> Match:
    """Say where each tensor comes from, or raise what is wrong."""
    refused = [
        f"{name} has shape {list(found)} where the configuration and {model} expect {list(wanted)}"
        for name, (found, wanted) in compared.mismatched.items()
        if not ignore_mismatched_sizes
    ]
    if findings := [*compared.findings, *refused]:
        hints = ["ignore_mismatched_sizes=True starts these anew"] if refused == findings else []
        if any(finding.endswith(UNEXPECTED) for finding in findings):
            hints.append("a model with layers of your own opens only with its own class, in the framework that saved it")
        raise CheckpointError(file.archive.path, "\n  ".join([f"does not fit {model}:", shortened(findings), *hints]))
    used = {place.name for place in located.source.values()}
    if located.copied:  # a copy of what is used, as the comparison has found
        used |= {place.name for copy in TIED if (place := located.optional[copy])}
    mismatched = compared.mismatched
    return Match(
        config=located.config,
        expected=located.expected,
        source={
            name: Foreign(file.names[place.name], place.layout)
            for name, place in located.source.items()
            if name not in mismatched
        },
        fresh=tuple(name for name in located.expected if name in located.absent or name in mismatched),
        mismatched=mismatched,
        ignored=tuple(kept for name, kept in file.names.items() if name not in used),
    )


def _missing(located: Located) -> Iterator[str]:
    """Tensors of a block that the file has in part. Google's code makes none without elements, such as the masked-LM head's own
    matrix where embedding_size is hidden_size."""
    for name, tensor in located.expected.items():
        if name not in located.source and name not in located.absent and 0 not in tensor.shape:
            yield name


def _holds_integers(file: Listing, located: Located, name: str) -> bool:
    """Whether a weight is not floating-point; a layer that the schema does not know may well count in whole numbers."""
    own = located.expected[name].block.startswith(OWN)
    return not own and file.entry(located.source[name]).dtype.kind in "iu"


def _has_its_own_decoder(file: Listing, config: MobileBertConfig, optional: Places) -> bool:
    """Whether a file has a decoder that a tied model would lose."""
    words = expand(config, "MobileBertForMaskedLM")[WORDS]
    return config.tie_word_embeddings and file.differ(words.shape, file.place(words), optional[DECODER])


def _stand_ins(file: Listing, config: MobileBertConfig, places: Places, optional: Places) -> dict[str, Foreign]:
    """Where a tensor is found under the name of its copy, or a copy under the name of its original."""
    found = {}
    for copy, original in TIED.items():
        for name, other in ((original, optional[copy]), (copy, places.get(original))):
            if name in places and other is not None and file.has(other) and not file.has(places[name]):
                found[name] = other
    bias = optional[DECODER_BIAS]
    if BIAS in places and bias is not None and file.has(bias) and not config.tie_word_embeddings:
        found[BIAS] = bias  # transformers 5 adds this one, and never trains the other
    return found


def _contradictions(file: Listing, located: Located) -> list[str]:
    """Of a tied decoder the bias has two names and one value."""
    if BIAS not in located.places or not located.config.tie_word_embeddings:
        return []
    differ = file.differ((located.config.vocab_size,), located.places[BIAS], located.optional[DECODER_BIAS])
    return [f"{DECODER_BIAS} differs from {BIAS}"] if differ else []


def with_copies(config: MobileBertConfig, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors as transformers wants them in a file: an untied decoder has the bias under a second name."""
    untied = not config.tie_word_embeddings and BIAS in tensors
    return {**tensors, DECODER_BIAS: tensors[BIAS]} if untied else dict(tensors)


def naming_of(archive: Archive, naming: Naming) -> Naming:
    """How a file names its tensors, if not as its kind does: the TF classes of transformers 4 write safetensors as they do h5."""
    variables = bool(archive.entries) and all(name.endswith(VARIABLE) for name in archive.entries)
    return "h5" if naming == "canonical" and variables else naming


def normal_names(archive: Archive, naming: Naming) -> dict[str, str]:
    """{name as the schema has it for a model with a head: name in the file}, without what holds no weights."""
    names = {name: name for name in archive.entries}
    if naming == "canonical":
        names = unwrapped(names)
        if not any(name.startswith(ROOT) for name in names):
            names = {_rooted(name): kept for name, kept in names.items()}
        names.pop(f"{ROOT}embeddings.position_ids", None)  # a buffer that old transformers releases saved
    if naming == "h5" and all(name.endswith(VARIABLE) for name in names):
        names = {name.removesuffix(VARIABLE): kept for name, kept in names.items()}
    if naming == "tf1":
        slots = ("/adam_m", "/adam_v")
        names = {name: kept for name, kept in names.items() if not name.endswith(slots) and name != "global_step"}
        students = {name: kept for name, kept in names.items() if not name.startswith("teacher/")}
        names = students or _without_prefix("teacher/", names)
    return names


def architecture_of(archive: Archive, naming: Naming, config: MobileBertConfig) -> str:
    """The model class a file was saved from: the one config.json names, or else the smallest that uses all of the file.

    Raises:
        CheckpointError: no class has all its heads.
    """
    if named := named_architecture(config):
        return named
    names = normal_names(archive, naming)
    # a classifier of sentences, of tokens and of choices has the same names: the first of ARCHITECTURES it is
    blocks = {
        "classifier" if tensor.block == "choice" else tensor.block
        for tensor in expand_optional(config).values()
        if (place := _foreign(tensor, naming)) and place.name in names and tensor.block != "pooler"
    }
    fitting = [name for name, architecture in ARCHITECTURES.items() if blocks <= set(architecture.blocks)]
    if not fitting:
        raise CheckpointError(archive.path, f"has heads that no one model has: {', '.join(sorted(blocks))}")
    return min(fitting, key=lambda name: len({*ARCHITECTURES[name].blocks} - {"pooler"}))


def _foreign(tensor: Tensor, naming: Naming) -> Foreign | None:
    """The name and layout of a tensor in a dialect, the same in every model; None where the dialect has no place for it."""
    if naming != "canonical":
        return tensor.foreign(naming)
    return Foreign(_rooted(tensor.name), "same")


def _rooted(name: str) -> str:
    """The name of a base model's tensor as a model with a head has it."""
    return ROOT + name if name.startswith(BASE_PARTS) else name


def unwrapped(names: Mapping[str, str]) -> dict[str, str]:
    """Names without what tools put around a model: torch.compile, DistributedDataParallel, FSDP, Lightning and others.

    The prefix may be any attribute, such as "model." or "module.", as long as all names have it.
    """
    plain = {".".join(part for part in name.split(".") if part not in WRAPPERS): kept for name, kept in names.items()}
    if len(plain) < len(names):
        return dict(names)
    prefixes = {name.removesuffix(end) for end in (WORDS, WORDS.removeprefix(ROOT)) for name in plain if name.endswith(end)}
    return _without_prefix(min(prefixes, key=len), plain) if prefixes else plain


def _without_prefix(prefix: str, names: Mapping[str, str]) -> dict[str, str]:
    """Names without a prefix that all of them have."""
    common = all(name.startswith(prefix) for name in names)
    return {name.removeprefix(prefix) if common else name: kept for name, kept in names.items()}
