"""What MediaPipe's TextClassifier reads in a LiteRT file beside the model: its tokenizer's vocabulary and its labels.

The metadata is a FlatBuffer of its own, in a buffer of the model; the files it names follow the model as a ZIP archive.

MediaPipe's tokenizer is BERT's uncased one only for English: it lower-cases ASCII letters alone, keeps accents, and splits neither at
white space beyond ASCII nor at control characters. A word with any of these is [UNK], and so is Korean, which BERT decomposes. The name
of a special token in a text is split like any other word.
Source: metadata_schema.fbs of MediaPipe, whose numbers of fields and enumerations are given here.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from mobilebert_common.errors import ConfigError, brief
from mobilebert_common.runtimes.signature import Signature

VOCABULARY_FILE, LABELS_FILE = "vocab.txt", "labels.txt"

# The fields of a table in metadata_schema.fbs
MODEL = {"subgraph_metadata": 3, "min_parser_version": 7}
SUBGRAPH = {"input_tensor_metadata": 2, "output_tensor_metadata": 3, "input_process_units": 5}
TENSOR = {"name": 0, "associated_files": 6}
PROCESS_UNIT = {"options_type": 0, "options": 1}
TOKENIZER = {"vocab_file": 0}
FILE = {"name": 0, "type": 2}

TENSOR_AXIS_LABELS, VOCABULARY, BERT_TOKENIZER = 2, 5, 4
BERT_SINCE = "1.1.0"  # the version of the schema that brought its tokenizer
SPECIAL_TOKENS = ("[CLS]", "[SEP]", "[UNK]")  # which MediaPipe looks up by these names
ALIGNMENT = 16  # of a buffer in a model, in bytes


def has_metadata(signature: Signature) -> bool:
    """Whether a model is one for TextClassifier: a classifier with one length."""
    return signature.activation is not None and len(signature.lengths) == 1


def with_metadata(content: bytes, signature: Signature, tokens: Sequence[str]) -> bytes:
    """A LiteRT file with metadata for TextClassifier.

    Args:
        content: of the file.
        tokens: the vocabulary, in the order of ids.
    Raises:
        ConfigError: a special token is not among the tokens, or a token or label has a line break.
    """
    if missing := [token for token in SPECIAL_TOKENS if token not in tokens]:
        raise ConfigError(f"MediaPipe's tokenizer needs {', '.join(missing)} in the vocabulary")
    files = {VOCABULARY_FILE: lines(tokens), LABELS_FILE: lines(signature.labels)}
    model = schema.ModelT.InitFromPackedBuf(content)
    names = {tensor.tensorIndex: tensor.name.decode() for tensor in [*model.signatureDefs[0].inputs, *model.signatureDefs[0].outputs]}
    graph = model.subgraphs[0]
    description = describe([names[index] for index in graph.inputs], [names[index] for index in graph.outputs])
    builder = flatbuffers.Builder()
    builder.Finish(put(builder, description), b"M001")
    model.buffers.append(schema.BufferT(np.frombuffer(builder.Output(), np.uint8)))
    model.metadata.append(schema.MetadataT("TFLITE_METADATA", len(model.buffers) - 1))
    whole = AlignedBuilder(len(content))
    whole.Finish(model.Pack(whole), b"TFL3")
    return with_archive(bytes(whole.Output()), files)


def describe(inputs: Sequence[str], outputs: Sequence[str]) -> dict[int, Any]:
    """A ModelMetadata for `put`, with the names of the tensors in the order of the graph."""
    tokenizer = {TOKENIZER["vocab_file"]: [{FILE["name"]: VOCABULARY_FILE, FILE["type"]: VOCABULARY}]}
    labels = [{FILE["name"]: LABELS_FILE, FILE["type"]: TENSOR_AXIS_LABELS}]
    graph = {
        SUBGRAPH["input_tensor_metadata"]: [{TENSOR["name"]: name} for name in inputs],
        SUBGRAPH["output_tensor_metadata"]: [{TENSOR["name"]: name, TENSOR["associated_files"]: labels} for name in outputs],
        SUBGRAPH["input_process_units"]: [{PROCESS_UNIT["options_type"]: BERT_TOKENIZER, PROCESS_UNIT["options"]: tokenizer}],
    }
    return {MODEL["subgraph_metadata"]: [graph], MODEL["min_parser_version"]: BERT_SINCE}


def put(builder: flatbuffers.Builder, value: Any) -> int:
    """Write a string, a list, or a table {field: value}, whose integers are bytes; returns where it is."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, list):
        places = [put(builder, each) for each in value]
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            builder.PrependUOffsetTRelative(place)
        return builder.EndVector()
    found = {field: each if isinstance(each, int) else put(builder, each) for field, each in value.items()}
    builder.StartObject(max(value) + 1)
    for field, each in found.items():
        if isinstance(value[field], int):
            builder.PrependInt8Slot(field, each, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(field, each, 0)
    return builder.EndObject()


class AlignedBuilder(flatbuffers.Builder):
    """A builder that aligns vectors of bytes as the schema of models demands, which the generated code forgets."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        """See flatbuffers.Builder."""
        return super().StartVector(elemSize, numElems, ALIGNMENT if elemSize == 1 else alignment)


def with_archive(model: bytes, files: Mapping[str, bytes]) -> bytes:
    """A model followed by an uncompressed ZIP archive, the same for the same files."""
    content = io.BytesIO(model)
    with zipfile.ZipFile(content, "a") as folder:
        for name, each in files.items():
            folder.writestr(zipfile.ZipInfo(name), each)
    return content.getvalue()


def lines(texts: Sequence[str]) -> bytes:
    """A text a line.

    Raises:
        ConfigError: one has a line break.
    """
    for text in texts:
        if "\n" in text or "\r" in text:
            raise ConfigError(f"LiteRT files for MediaPipe cannot have {brief(text)}, with a line break, as a token or label")
    return "".join(f"{text}\n" for text in texts).encode()
