"""README.md of an exported model: what the files are, the report, and code that runs the model in an app."""

from string import Template
from typing import TYPE_CHECKING, NamedTuple

from ..errors import counted
from ..runtimes.signature import Signature
from .page import page_files
from .report import Report

if TYPE_CHECKING:
    from .export import Plan


class Client(NamedTuple):
    """Code that runs an exported model; $names are filled in.

    Attributes:
        language: as Markdown calls it.
        title: what it is for.
    """

    language: str
    title: str
    code: str


ONNX_PYTHON = Client(
    "python",
    "Python: ONNX Runtime (`pip install onnxruntime tokenizers`)",
    """
from onnxruntime import InferenceSession
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation($max_length)
tokenizer.enable_padding()
encodings = tokenizer.encode_batch([$examples])
session = InferenceSession("$file")
outputs = session.run([$outputs], {
    "input_ids": [each.ids for each in encodings],
    "attention_mask": [each.attention_mask for each in encodings],
    "token_type_ids": [each.type_ids for each in encodings],
})
print(outputs)
""",
)
TRANSFORMERS_JS = Client(
    "javascript",
    "JavaScript: transformers.js (`npm install @huggingface/transformers`)",
    """
import { env, pipeline } from "@huggingface/transformers";

env.allowRemoteModels = false;
env.localModelPath = "..";  // the folder that holds this one
const run = await pipeline("$pipeline", "$folder", { dtype: "$dtype" });
console.log(await run($arguments));
""",
)
LITERT_PYTHON = Client(
    "python",
    "Python: LiteRT (`pip install ai-edge-litert tokenizers`)",
    """
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation($max_length)
tokenizer.enable_padding(length=$max_length)
encoding = tokenizer.encode($examples)
run = Interpreter("$file").get_signature_runner("$key")
print(run(
    $ids=np.array([encoding.ids], np.int32),
    $mask=np.array([encoding.attention_mask], np.int32),
    $types=np.array([encoding.type_ids], np.int32),
))
""",
)
LITERT_KOTLIN = Client(
    "kotlin",
    "Kotlin: LiteRT (`com.google.ai.edge.litert:litert`)",
    """
val interpreter = Interpreter(FileUtil.loadMappedFile(context, "$file"))
val inputs = mapOf<String, Any>("$ids" to arrayOf(ids), "$mask" to arrayOf(mask), "$types" to arrayOf(types))  // IntArray of $max_length
val outputs = mutableMapOf<String, Any>($kotlin_outputs)
interpreter.runSignature(inputs, outputs, "$key")
""",
)
LITERT_SWIFT = Client(
    "swift",
    "Swift: LiteRT (`TensorFlowLiteSwift`)",
    """
let interpreter = try Interpreter(modelPath: Bundle.main.path(forResource: "model", ofType: "tflite")!)
let runner = try interpreter.signatureRunner(with: "$key")
try runner.allocateTensors()
for (name, values) in ["$ids": ids, "$mask": mask, "$types": types] {  // [Int32] of $max_length
    try runner.copy(values.withUnsafeBufferPointer { Data(buffer: $$0) }, toInputNamed: name)
}
try runner.invoke()
""",
)
MEDIAPIPE = (
    Client(
        "python",
        "Python: MediaPipe (`pip install mediapipe`)",
        """
from mediapipe.tasks.python import text

with text.TextClassifier.create_from_model_path("$file") as classifier:
    for category in classifier.classify($examples).classifications[0].categories:
        print(category.category_name, category.score)
""",
    ),
    Client(
        "kotlin",
        "Kotlin: MediaPipe (`com.google.mediapipe:tasks-text`), the file in `assets`",
        """
val classifier = TextClassifier.createFromFile(context, "$file")
for (category in classifier.classify("$text").classificationResult().classifications()[0].categories()) {
    println("$${category.categoryName()} $${category.score()}")
}
""",
    ),
    Client(
        "swift",
        "Swift: MediaPipe (`MediaPipeTasksText`)",
        """
let classifier = try TextClassifier(modelPath: Bundle.main.path(forResource: "model", ofType: "tflite")!)
for category in try classifier.classify(text: "$text").classificationResult.classifications[0].categories {
    print(category.categoryName ?? "", category.score)
}
""",
    ),
    Client(
        "javascript",
        "JavaScript: MediaPipe (`npm install @mediapipe/tasks-text`, whose folder `wasm` lies beside the page)",
        """
import { FilesetResolver, TextClassifier } from "./tasks-text/text_bundle.mjs";

const classifier = await TextClassifier.createFromModelPath(await FilesetResolver.forTextTasks("./tasks-text/wasm"), "$file");
console.log(classifier.classify("$text").classifications[0].categories);
""",
    ),
)
EXECUTORCH_PYTHON = Client(
    "python",
    "Python: ExecuTorch (`pip install executorch tokenizers`)",
    """
import torch
from executorch.runtime import Runtime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation($max_length)
tokenizer.enable_padding(length=$max_length)
encoding = tokenizer.encode($examples)
forward = Runtime.get().load_program("$file").load_method("forward")
tensors = [encoding.ids, encoding.attention_mask, encoding.type_ids]  # inputs go by their order
print(forward.execute([torch.tensor([each], dtype=torch.$torch_ids) for each in tensors]))
""",
)
EXECUTORCH_KOTLIN = Client(
    "kotlin",
    "Kotlin: ExecuTorch (`org.pytorch:executorch-android`)",
    """
val module = Module.load(path)  // of $file
val shape = longArrayOf(1, $max_length)
// ids, mask and types are IntArrays, in this order
val outputs = module.forward(*listOf(ids, mask, types).map { EValue.from(Tensor.fromBlob(it, shape)) }.toTypedArray())
""",
)
EXECUTORCH_SWIFT = Client(
    "swift",
    "Swift: ExecuTorch (`executorch` by Swift Package Manager)",
    """
let module = Module(filePath: Bundle.main.path(forResource: "model", ofType: "pte")!)
let outputs = try module.forward([ids, mask, types].map { Tensor<Int32>($$0, shape: [1, $max_length]) })
""",
)
OPENVINO_PYTHON = Client(
    "python",
    "Python: OpenVINO (`pip install openvino tokenizers`)",
    """
import numpy as np
import openvino
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation($max_length)
encoding = tokenizer.encode($examples)
# bfloat16, which some processors choose, moves the answers
model = openvino.Core().compile_model("$file", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
inputs = {"input_ids": encoding.ids, "attention_mask": encoding.attention_mask, "token_type_ids": encoding.type_ids}
print(model({name: np.array([values]) for name, values in inputs.items()}))
""",
)
SAVEDMODEL_PYTHON = Client(
    "python",
    "Python: TensorFlow (`pip install tensorflow tokenizers`); TensorFlow Serving takes the same folder",
    """
import tensorflow as tf
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation($max_length)
encoding = tokenizer.encode($examples)
run = tf.saved_model.load("saved_model").signatures["serving_default"]
inputs = {"input_ids": encoding.ids, "attention_mask": encoding.attention_mask, "token_type_ids": encoding.type_ids}
print(run(**{name: tf.constant([values]) for name, values in inputs.items()}))
""",
)
PAGE = Client(
    "sh",
    "The page: fetch the runtime once, 14 MB from npm, and serve the folder with any static server",
    """
node fetch-runtime.mjs
python3 -m http.server
""",
)
CLIENTS: dict[str, tuple[Client, ...]] = {
    "onnx": (ONNX_PYTHON, TRANSFORMERS_JS),
    "litert": (LITERT_PYTHON, LITERT_KOTLIN, LITERT_SWIFT),
    "executorch": (EXECUTORCH_PYTHON, EXECUTORCH_KOTLIN, EXECUTORCH_SWIFT),
    "openvino": (OPENVINO_PYTHON,),
    "savedmodel": (SAVEDMODEL_PYTHON,),
    "web": (PAGE, ONNX_PYTHON),
}
# what transformers.js calls the task of an architecture, and what to call it with
PIPELINES: dict[str, tuple[str, str]] = {
    "MobileBertModel": ("feature-extraction", '"Where is my parcel?"'),
    "MobileBertForMaskedLM": ("fill-mask", '"Where is my [MASK]?"'),
    "MobileBertForSequenceClassification": ("text-classification", '"Where is my parcel?"'),
    "MobileBertForTokenClassification": ("token-classification", '"My parcel is in Paris."'),
    "MobileBertForQuestionAnswering": ("question-answering", '"Where is my parcel?", "The parcel is in Paris."'),
}
MEDIAPIPE_NOTE = (
    "MediaPipe tokenizes in its own way: it lower-cases ASCII letters only, keeps accents, and knows no word with a control character. "
    "For English texts its answers are those of the report; for other languages take LiteRT with tokenizer.json."
)
DTYPES = {"none": "fp32", "fp16": "fp16", "dynamic-int8": "q8", "int8": "int8"}  # of transformers.js
PAIRS = {"MobileBertForQuestionAnswering", "MobileBertForNextSentencePrediction", "MobileBertForMultipleChoice"}


def readme(plan: "Plan", signature: Signature, report: Report, folder: str) -> str:
    """The text of README.md.

    Args:
        folder: the name of the folder.
    """
    parts = [
        f"# {signature.architecture} for {TITLES[signature.target]}",
        f"Exported from `{report.source}` by mobilebert-zoo {report.versions['mobilebert-zoo']}, quantization: {signature.quantize}.",
        *files(signature),
        *tensors(signature),
        *results(report),
        "## Run it",
        "The code below runs in this folder.",
    ]
    for client in clients(signature):
        code = Template(client.code).substitute(values(signature, folder))
        parts += [f"### {client.title}", f"```{client.language}\n{code.strip()}\n```"]
    if signature.for_mediapipe:
        parts.append(MEDIAPIPE_NOTE)
    return "\n\n".join(parts) + "\n"


TITLES = {
    "onnx": "ONNX Runtime and transformers.js",
    "litert": "LiteRT",
    "executorch": "ExecuTorch",
    "openvino": "OpenVINO",
    "savedmodel": "TensorFlow",
    "web": "the browser",
}


def clients(signature: Signature) -> list[Client]:
    """The clients that can run a file."""
    found = [*CLIENTS[signature.target]]
    if signature.for_mediapipe:
        found = [*MEDIAPIPE, *found]
    runs_in_js = signature.architecture in PIPELINES and signature.quantize in DTYPES
    return [client for client in found if client is not TRANSFORMERS_JS or runs_in_js]


def values(signature: Signature, folder: str) -> dict[str, str]:
    """What the names in the code stand for."""
    ids, mask, types = signature.inputs.values()
    text, pair = "Where is my parcel?", "The parcel is in Paris."
    is_pair = signature.architecture in PAIRS
    pipeline, arguments = PIPELINES.get(signature.architecture, ("", ""))
    example = f'"{text}", "{pair}"' if is_pair else f'"{text}"'
    return {
        "file": signature.file,
        "folder": folder,
        "max_length": str(signature.max_length),
        "outputs": ", ".join(f'"{name}"' for name in signature.outputs.values()),
        "kotlin_outputs": ", ".join(f'"{name}" to {kotlin(signature, output)}' for output, name in signature.outputs.items()),
        "examples": f"({example})" if is_pair and signature.target == "onnx" else example,
        "text": text,
        "key": signature.key(signature.max_length),
        "ids": ids,
        "mask": mask,
        "types": types,
        "torch_ids": signature.ids,
        "pipeline": pipeline,
        "arguments": arguments,
        "dtype": DTYPES.get(signature.quantize, ""),
    }


def kotlin(signature: Signature, output: str) -> str:
    """An empty array for an output, [1 …]."""
    if signature.is_per_token(output):
        inner = f"FloatArray({signature.max_length})"
        inner = inner if output in ("start_logits", "end_logits") else f"Array({signature.max_length}) {{ FloatArray(n) }}"
        return f"arrayOf({inner})"
    return f"arrayOf(FloatArray({len(signature.labels) or 'n'}))"


def files(signature: Signature) -> list[str]:
    """What lies in the folder."""
    rows = [f"| `{name}` | {file.bytes / 1e6:,.1f} MB |" for name, file in signature.files.items()]
    page = {", ".join(page_files()): "the page"} if signature.target == "web" else {}
    texts = page | {
        "signature.json": "names, types and lengths of the model's inputs and outputs, and the SHA-256 of its files",
        "vocab.txt, tokenizer.json": "the tokenizer",
        "config.json": "the configuration of the model",
        "report.json": "the measurements below",
    } | ({"labels.txt": "the classes in the order of the output"} if signature.labels else {})
    return ["\n".join(["| file | |", "| --- | --- |", *rows, *(f"| `{name}` | {text} |" for name, text in texts.items())])]


def tensors(signature: Signature) -> list[str]:
    """The inputs and outputs."""
    lengths = " or ".join(map(str, signature.lengths))
    shape = f"[1, {lengths}]" if lengths else f"[rows, tokens], up to {signature.max_length} tokens"
    meanings = ("token ids, beginning with [CLS]", "1 for tokens, 0 for padding at the end", "0 for a text, 1 for the second one of a pair")
    inputs = zip(signature.inputs.values(), meanings, strict=True)
    rows = [f"| input `{name}` | {signature.ids} {shape} | {text} |" for name, text in inputs]
    for output, name in signature.outputs.items():
        text = MEANINGS.get(signature.activation or "", output.replace("_", " "))
        labels = f": {', '.join(signature.labels[:10])}" if signature.labels else ""
        rows.append(f"| output `{name}` | float32 | {text}{labels.replace('|', ' ')} |")
    note = "Each choice of an example is a row of its own, and the highest score wins." if signature.has_choices else ""
    bounds = "Nothing checks token ids at run time: they must be below the size of the vocabulary, which those of the tokenizer are."
    return ["\n".join(["| tensor | type | meaning |", "| --- | --- | --- |", *rows]), f"{bounds} {note}".strip()]


MEANINGS = {"softmax": "probabilities", "sigmoid": "a probability for each label"}


def results(report: Report) -> list[str]:
    """The report in words."""
    same = "" if report.same is None else f" {100 * report.same:.2f}% of the answers are the same."
    relative = ", ".join(f"{name} {value:.1e}" for name, value in report.relative.items())
    compared = f"On {report.data}, {counted(report.rows, 'row')}"
    distance = f"{compared}, the outputs differ from the float model's by (relative L2 distance): {relative}.{same}"
    lines = ["## Report", distance]
    if report.before:
        rows = [f"| {title} | {report.before[title]:.4f} | {report.after[title]:.4f} |" for title in report.before if title in report.after]
        lines.append("\n".join(["| metric | float model | this file |", "| --- | --- | --- |", *rows]))
    times = ", ".join(f"{value:.1f} ms for {tokens} tokens" for tokens, value in report.milliseconds.items())
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    lines.append(f"One row takes {times} ({report.machine}; {versions}).")
    return lines
