"""The table of targets that a model can be exported to, and the names that tensors have there.

To add a target, add a row to TARGETS, a module to `exports` of a twin, which writes the file, and one beside this file, which runs it.
"""

from typing import Literal, NamedTuple

QUANTIZATIONS = ("none", "fp16", "dynamic-int8", "int8")


class Target(NamedTuple):
    """A kind of file for another runtime.

    Attributes:
        framework: the twin that writes it, a key of FRAMEWORKS.
        writer: the module in `exports` of the twin that writes it, and in `runtimes` the one that runs it.
        extra: the extra of mobilebert-zoo that installs what both need.
        libraries: the packages that decide what is written and computed.
        files: {quantization it can have: the path of the model in its folder}.
        ids: the dtype of its inputs.
        is_static: whether it is for inputs of fixed lengths, one row at a time.
        max_lengths: how many lengths one file can have.
    """

    framework: str
    writer: str
    extra: str
    libraries: tuple[str, ...]
    files: dict[str, str]
    ids: Literal["int32", "int64"]
    is_static: bool
    max_lengths: int = 1


ONNX = {
    "none": "onnx/model.onnx",
    "fp16": "onnx/model_fp16.onnx",
    "dynamic-int8": "onnx/model_quantized.onnx",
    "int8": "onnx/model_int8.onnx",
}
EXECUTORCH = dict.fromkeys(("none", "dynamic-int8", "int8"), "model.pte")

TARGETS: dict[str, Target] = {
    "onnx": Target("pt", "onnx", "onnx", ("torch", "onnx", "onnxruntime"), ONNX, "int64", is_static=False),
    "litert": Target(
        "tf", "litert", "litert", ("tensorflow", "ai-edge-litert"), dict.fromkeys(QUANTIZATIONS, "model.tflite"), "int32", True, 16
    ),
    "executorch": Target("pt", "executorch", "executorch", ("torch", "executorch"), EXECUTORCH, "int32", True),
    "openvino": Target(
        "pt", "openvino", "openvino", ("torch", "openvino"), dict.fromkeys(QUANTIZATIONS, "openvino_model.xml"), "int64", False
    ),
    "savedmodel": Target("tf", "savedmodel", "tf", ("tensorflow",), {"none": "saved_model/saved_model.pb"}, "int32", False),
    "web": Target(
        "pt", "onnx", "onnx", ("torch", "onnx", "onnxruntime"), {key: ONNX[key] for key in ("none", "dynamic-int8")}, "int64", False
    ),
}

ARGUMENTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUTS: dict[str, tuple[str, ...]] = {  # of each architecture, those that a file gives
    "MobileBertModel": ("last_hidden_state", "pooler_output"),
    "MobileBertForPreTraining": ("prediction_logits", "seq_relationship_logits"),
    "MobileBertForQuestionAnswering": ("start_logits", "end_logits"),
}
LOGITS = ("logits",)
PER_TOKEN = {"last_hidden_state", "prediction_logits", "start_logits", "end_logits"}  # with an axis of the sequence


class Names(NamedTuple):
    """The names of a file's tensors where clients expect others than the model's own."""

    inputs: tuple[str, str, str]  # in the order of ARGUMENTS
    outputs: tuple[str, ...]  # in the order of OUTPUTS


# What MediaPipe's TextClassifier and Google's MobileBERT for question answering (MLPerf Mobile, the TFLite task library) call them
NAMES: dict[tuple[str, str], Names] = {
    ("litert", "MobileBertForSequenceClassification"): Names(("ids", "mask", "segment_ids"), ("probability",)),
    ("litert", "MobileBertForQuestionAnswering"): Names(("input_ids", "input_mask", "segment_ids"), ("start_logits", "end_logits")),
}
