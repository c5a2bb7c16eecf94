"""What benchmarks/inference.py compares, as tables: a row of PATHS or TEXT_PATHS is one way to compute the same thing.

This is also the script of its workers. Each runs one row in the Python the row names, and imports that row's framework only.
"""

import argparse
import csv
import importlib
import importlib.util
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from turns import Request, Unavailable, serve, timed

CLASSIFIER, ANSWERS = "MobileBertForSequenceClassification", "MobileBertForQuestionAnswering"
BATCH = 32  # of the pipeline
Call = Callable[[], Any]
Prepare = Callable[[Any], Call]  # a case to what is timed, which returns the outputs


@dataclass(frozen=True)
class Job:
    """What a worker gets besides its row.

    Attributes:
        folder: the checkpoint directory that all open.
        architecture: its class, by its name in PyTorch.
        data: the folder with the texts, or None.
        texts: the number of texts to take of each file at most; None for that of the file's row.
    """

    folder: Path
    architecture: str
    threads: int
    data: Path | None = None
    texts: int | None = None


@dataclass(frozen=True)
class Contestant:
    """One way to compute the outputs.

    Attributes:
        title: what it is called in tables and plots.
        python: the option that names its Python.
        peers: the names of the rows it can be compared with; the first that could be measured is its peer.
        prepare: opens the model.
        options: for `prepare`.
        start: whether import, load and memory are measured, too.
        on_request: measured only if --only names it.
        instead_of: measured only where this row could not be.
        dialect: of the checkpoint that it opens, or a row of EXPORTS for an exported file.
    """

    title: str
    python: str
    framework: str
    precision: str
    peers: tuple[str, ...]
    prepare: Callable[..., Prepare]
    options: dict[str, Any] = field(default_factory=dict)
    start: bool = False
    on_request: bool = False
    instead_of: str | None = None
    dialect: str = "safetensors"


@dataclass(frozen=True)
class Texts:
    """Real texts: a file below the folder of data, how many of it are taken, and what reads them."""

    file: str
    count: int
    architecture: str
    task: str  # of transformers' pipeline
    read: Callable[[Path], list[Any]]


# ---------------------------------------------------------------- how models are opened and called


def opened(job: Job, module: str, prefix: str = "", **options: Any) -> Any:
    """A model of a package from the checkpoint."""
    return getattr(importlib.import_module(module), prefix + job.architecture).from_pretrained(str(job.folder), **options)


def folded(model: Any, options: dict[str, Any] | None) -> Any:
    """The model folded with these options, or itself for None."""
    return model if options is None else model.fold(**options)


def ids(case: Sequence[int]) -> Any:
    """Random tokens, [b t]."""
    import numpy as np

    return np.random.default_rng(0).integers(1000, 30000, tuple(case))


def in_torch(job: Job, module: str, fold: dict[str, Any] | None = None, compiled: bool = False, **options: Any) -> Prepare:
    """A model of PyTorch."""
    import torch

    torch.set_num_threads(job.threads)
    model = folded(opened(job, module, **options).eval(), fold)
    if compiled:
        if not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
            raise Unavailable("torch.compile needs a C++ compiler")
        model = torch.compile(model)

    def prepare(case: Sequence[int]) -> Call:
        inputs = {"input_ids": torch.from_numpy(ids(case))}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])

        def call() -> Any:
            with torch.inference_mode():
                return model(**inputs)[0]

        return call

    return prepare


def in_keras(job: Job, module: str, fold: dict[str, Any] | None = None, **options: Any) -> Prepare:
    """A model of Keras or TF, as a graph for each shape."""
    import tensorflow as tf

    model = folded(opened(job, module, "TF", **options), fold)

    def prepare(case: Sequence[int]) -> Call:
        tokens = tf.constant(ids(case), tf.int32)
        mask = tf.ones_like(tokens)
        graph = tf.function(lambda tokens, mask: model(input_ids=tokens, attention_mask=mask, training=False)[0])
        return lambda: graph(tokens, mask).numpy()

    return prepare


def with_pipeline(job: Job, **options: Any) -> Prepare:
    """The pipeline of transformers in PyTorch, with batches of texts in the order they come."""
    import torch
    import transformers

    torch.set_num_threads(job.threads)

    def prepare(case: str) -> Call:
        task, rows = TEXTS[case].task, read(job, case)
        if task not in transformers.pipelines.PIPELINE_REGISTRY.get_supported_tasks():
            raise Unavailable(f"transformers {transformers.__version__} has no pipeline for {task}")
        torch_only = {"framework": "pt"} if transformers.__version__ < "5" else {}
        pipeline = transformers.pipeline(task, str(job.folder), batch_size=BATCH, **torch_only, **options)
        pipeline(rows[:BATCH])  # fills caches
        return lambda: [row.get("label", row.get("answer")) for row in pipeline(rows)]

    return prepare


def with_predictor(job: Job, **options: Any) -> Prepare:
    """Our Predictor."""
    import torch

    import mobilebert_pt

    torch.set_num_threads(job.threads)
    predictor = mobilebert_pt.Predictor.load(job.folder, **options)

    def prepare(case: str) -> Call:
        rows = read(job, case)
        predictor(rows[:BATCH])  # fills caches
        return lambda: predictor(rows)

    return prepare


def read(job: Job, case: str) -> list[Any]:
    """The texts of a case, evenly from the whole file."""
    assert job.data is not None
    rows, count = TEXTS[case].read(job.data / TEXTS[case].file), job.texts or TEXTS[case].count
    return [rows[number * len(rows) // count] for number in range(count)] if count < len(rows) else rows


def sentences(path: Path) -> list[str]:
    """The sentences of a table of GLUE."""
    with open(path, encoding="utf-8", newline="") as file:
        return [row["sentence"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def questions(path: Path) -> list[dict[str, str]]:
    """The questions of a file of SQuAD with their contexts."""
    paragraphs = [each for article in json.loads(path.read_text(encoding="utf-8"))["data"] for each in article["paragraphs"]]
    return [{"question": row["question"], "context": each["context"]} for each in paragraphs for row in each["qas"]]


def with_export(job: Job, **options: Any) -> Prepare:
    """Our Predictor on a folder that was exported."""
    from mobilebert_common import Predictor

    predictor = Predictor.load(job.folder, threads=job.threads, **options)

    def prepare(case: str) -> Call:
        rows = read(job, case)
        predictor(rows[:BATCH])
        return lambda: predictor(rows)

    return prepare


# ---------------------------------------------------------------- exported files, one row of NAMES in, "logits" or its like out

NAMES = ("input_ids", "attention_mask", "token_type_ids")
LENGTH = 128  # tokens of a row of LiteRT's files
LENGTHS = {"SST-2": (16, 24, 32, 48, 64, 128), "XQuAD": (128, 160, 192, 224, 256, 320, 384)}  # of a file with several


def arrays(case: Sequence[int], dtype: str) -> dict[str, Any]:
    """Inputs without padding, [b t] each."""
    import numpy as np

    tokens = ids(case).astype(dtype)
    return dict(zip(NAMES, (tokens, np.ones_like(tokens), np.zeros_like(tokens)), strict=True))


def onnx_file(folder: Path) -> Path:
    """The ONNX file of a folder; the quantized one, if there is one beside the float one."""
    return max(folder.rglob("*.onnx"))


def in_onnxruntime(job: Job) -> Prepare:
    """An ONNX file in ONNX Runtime."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = job.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # or its threads would take the turns of others
    session = InferenceSession(str(onnx_file(job.folder)), options, providers=["CPUExecutionProvider"])

    def prepare(case: Sequence[int]) -> Call:
        inputs = arrays(case, "int64")
        return lambda: session.run(None, inputs)[0]

    return prepare


def in_openvino(job: Job) -> Prepare:
    """An ONNX file, or one of OpenVINO, in OpenVINO."""
    import openvino

    path = next(job.folder.glob("*.xml"), None) or onnx_file(job.folder)
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": job.threads, "PERFORMANCE_HINT": "LATENCY"}
    model = openvino.Core().compile_model(str(path), "CPU", settings)

    def prepare(case: Sequence[int]) -> Call:
        inputs = arrays(case, "int64")
        return lambda: model(inputs)[0]

    return prepare


def in_litert(job: Job) -> Prepare:
    """A LiteRT file, which is for one row of LENGTH tokens."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(job.folder / "model.tflite"), num_threads=job.threads)
    run = interpreter.get_signature_runner()

    def prepare(case: Sequence[int]) -> Call:
        if tuple(case) != (1, LENGTH):
            raise Unavailable(f"the file is for one row of {LENGTH} tokens")
        inputs = arrays(case, "int32")
        return lambda: next(iter(run(**inputs).values()))

    return prepare


def write_ours(job: Job, folder: Path, to: str, quantize: str = "none") -> None:
    """Our file alone, whose names and outputs are the model's own."""
    from mobilebert_common.frameworks import twin, writer
    from mobilebert_common.runtimes.signature import Signature, outputs_of
    from mobilebert_common.runtimes.targets import TARGETS

    target, outputs = TARGETS[to], outputs_of(job.architecture)
    signature = Signature(
        target=to,
        quantize=quantize,
        architecture=job.architecture,
        inputs=dict(zip(NAMES, NAMES, strict=True)),
        outputs=dict(zip(outputs, outputs, strict=True)),
        ids=target.ids,
        lengths=[LENGTH] if target.is_static else [],
        max_length=LENGTH,
        file=target.files[quantize],
    )
    model = twin(target.framework).load(job.folder, job.architecture)
    writer(target.framework, target.writer).write(model, signature, folder)


def write_texts(job: Job, folder: Path, lengths: Sequence[int], quantize: str = "none") -> None:
    """Our LiteRT file, in a folder that Predictor opens."""
    from mobilebert_tf import export_litert

    folder.rmdir()
    export_litert(job.folder, folder, length=[*lengths], quantize=quantize)


def write_torch(job: Job, folder: Path) -> None:
    """The PyTorch model of transformers as torch.onnx.export writes it."""
    import torch

    model = opened(job, HF).eval()
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=512)}

    class Scores(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> Any:
            return self.model(**dict(zip(NAMES, tensors, strict=True)))[0]

    example = tuple(torch.ones(2, 3, dtype=torch.long) for _ in NAMES)
    with torch.no_grad():
        torch.onnx.export(
            Scores(),
            example,
            str(folder / "model.onnx"),
            input_names=[*NAMES],
            dynamic_shapes=((axes,) * len(NAMES),),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def write_tf(job: Job, folder: Path) -> None:
    """The TF model of transformers as TensorFlow's converter writes it."""
    import tensorflow as tf

    model = opened(replace(job, folder=job.folder.with_name(f"{job.folder.name}-h5")), HF, "TF")
    specs = [tf.TensorSpec([1, LENGTH], tf.int32, name) for name in NAMES]
    graph = tf.function(lambda *tensors: {"logits": model(dict(zip(NAMES, tensors, strict=True)), training=False)[0]}, specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph.get_concrete_function()], model)
    (folder / "model.tflite").write_bytes(converter.convert())


@dataclass(frozen=True)
class Export:
    """How a folder with an exported file is made.

    Attributes:
        python: the option that names the Python that writes it.
        dialect: of the checkpoint that it reads.
    """

    python: str
    write: Callable[..., None]
    options: dict[str, Any] = field(default_factory=dict)
    dialect: str = "safetensors"


EXPORTS = {
    "torch-onnx": Export("hf5_python", write_torch),
    "tf-litert": Export("hf4_python", write_tf, dialect="h5"),
    "onnx": Export("python", write_ours, {"to": "onnx"}),
    "onnx-int8": Export("python", write_ours, {"to": "onnx", "quantize": "dynamic-int8"}),
    "openvino": Export("python", write_ours, {"to": "openvino"}),
    "litert": Export("python", write_ours, {"to": "litert"}),
    "litert-int8": Export("python", write_ours, {"to": "litert", "quantize": "dynamic-int8"}),
    "sst2-128": Export("python", write_texts, {"lengths": [128]}),
    "sst2-lengths": Export("python", write_texts, {"lengths": LENGTHS["SST-2"]}),
    "xquad-384": Export("python", write_texts, {"lengths": [384]}),
    "xquad-lengths": Export("python", write_texts, {"lengths": LENGTHS["XQuAD"]}),
}


# ---------------------------------------------------------------- what is compared

PT, TF, HF = "mobilebert_pt", "mobilebert_tf", "transformers"
SDPA = {"attn_implementation": "sdpa"}

# name: what is measured on CASES
PATHS = {
    "hf5": Contestant("transformers 5", "hf5_python", "PyTorch", "float32", (), in_torch, {"module": HF, **SDPA}, start=True),
    "hf5-bf16": Contestant(
        "transformers 5, bf16", "hf5_python", "PyTorch", "bfloat16", (), in_torch, {"module": HF, "dtype": "bfloat16", **SDPA}
    ),
    "hf5-compile": Contestant(
        "transformers 5, compiled",
        "hf5_python",
        "PyTorch",
        "float32",
        ("hf5",),
        in_torch,
        {"module": HF, "compiled": True, **SDPA},
        on_request=True,  # compiles for minutes
    ),
    "pt": Contestant("not folded", "python", "PyTorch", "float32", ("hf5",), in_torch, {"module": PT}, start=True),
    "pt-fold": Contestant("folded", "python", "PyTorch", "float32", ("hf5", "pt"), in_torch, {"module": PT, "fold": {}}, start=True),
    "pt-packed": Contestant(
        "folded, packed", "python", "PyTorch", "float32", ("hf5", "pt"), in_torch, {"module": PT, "fold": {"packed": True}}
    ),
    "pt-bf16": Contestant(
        "folded, bf16", "python", "PyTorch", "bfloat16", ("hf5-bf16", "pt"), in_torch, {"module": PT, "fold": {"dtype": "bfloat16"}}
    ),
    "pt-int8": Contestant(
        "folded, int8", "python", "PyTorch", "int8", ("hf5", "pt"), in_torch, {"module": PT, "fold": {"quantize": "int8"}}
    ),
    "hf4": Contestant(  # its TF classes cannot read safetensors written or opened by a safetensors of today
        "transformers 4.57", "hf4_python", "Keras", "float32", (), in_keras, {"module": HF}, start=True, dialect="h5"
    ),
    "tf": Contestant("not folded", "python", "Keras", "float32", ("hf4",), in_keras, {"module": TF}, start=True),
    "tf-fold": Contestant("folded", "python", "Keras", "float32", ("hf4", "tf"), in_keras, {"module": TF, "fold": {}}, start=True),
}
EXPORT_PATHS = {
    "ort-hf5": Contestant("transformers 5, exported", "python", "ONNX Runtime", "float32", (), in_onnxruntime, dialect="torch-onnx"),
    "ort": Contestant("exported", "python", "ONNX Runtime", "float32", ("ort-hf5",), in_onnxruntime, dialect="onnx"),
    "ort-int8": Contestant("exported, dynamic int8", "python", "ONNX Runtime", "int8", ("ort-hf5",), in_onnxruntime, dialect="onnx-int8"),
    "ov-hf5": Contestant("transformers 5, exported", "python", "OpenVINO", "float32", (), in_openvino, dialect="torch-onnx"),
    "ov": Contestant("exported", "python", "OpenVINO", "float32", ("ov-hf5",), in_openvino, dialect="openvino"),
    "litert-hf4": Contestant("transformers 4.57, exported", "python", "LiteRT", "float32", (), in_litert, dialect="tf-litert"),
    "litert": Contestant("exported", "python", "LiteRT", "float32", ("litert-hf4",), in_litert, dialect="litert"),
    "litert-int8": Contestant("exported, dynamic int8", "python", "LiteRT", "int8", ("litert-hf4",), in_litert, dialect="litert-int8"),
}
CASES = ((1, 32), (1, 128), (1, 384), (8, 32), (8, 128), (8, 384))  # batch, length

# what the outputs of PATHS are compared with
REFERENCE = Contestant("float64", "python", "PyTorch", "float64", (), in_torch, {"module": PT, "dtype": "float64"})

# name: what is measured on TEXTS
TEXT_PATHS = {
    "pipeline5": Contestant("pipeline, transformers 5", "hf5_python", "PyTorch", "float32", (), with_pipeline),
    "pipeline4": Contestant(  # the last that answers questions
        "pipeline, transformers 4.57", "hf4_python", "PyTorch", "float32", (), with_pipeline, instead_of="pipeline5"
    ),
    "predictor": Contestant("Predictor", "python", "PyTorch", "float32", ("pipeline5", "pipeline4"), with_predictor),
    "predictor-bf16": Contestant(
        "Predictor, bf16",
        "python",
        "PyTorch",
        "bfloat16",
        ("pipeline5", "pipeline4", "predictor"),
        with_predictor,
        {"dtype": "bfloat16"},
    ),
    "predictor-int8": Contestant(
        "Predictor, int8",
        "python",
        "PyTorch",
        "int8",
        ("pipeline5", "pipeline4", "predictor"),
        with_predictor,
        {"quantize": "int8"},
    ),
}
LENGTH_PATHS = {  # named after the file of TEXTS
    "sst2-128": Contestant("LiteRT, one length", "python", "LiteRT", "float32", (), with_export, dialect="sst2-128"),
    "sst2-lengths": Contestant(
        "LiteRT, several lengths", "python", "LiteRT", "float32", ("sst2-128",), with_export, dialect="sst2-lengths"
    ),
    "xquad-384": Contestant("LiteRT, one length", "python", "LiteRT", "float32", (), with_export, dialect="xquad-384"),
    "xquad-lengths": Contestant(
        "LiteRT, several lengths", "python", "LiteRT", "float32", ("xquad-384",), with_export, dialect="xquad-lengths"
    ),
}
TEXTS = {
    "SST-2": Texts("sst2/dev.tsv", 872, CLASSIFIER, "text-classification", sentences),
    "XQuAD": Texts("squad/xquad.en.json", 160, ANSWERS, "question-answering", questions),
}

FRAMEWORKS = {
    "PyTorch": "torch",
    "Keras": "tensorflow",
    "ONNX Runtime": "onnxruntime",
    "OpenVINO": "openvino",
    "LiteRT": "ai_edge_litert",
}
ROWS = {"reference": REFERENCE, **PATHS, **TEXT_PATHS, **EXPORT_PATHS, **LENGTH_PATHS}


# ---------------------------------------------------------------- the requests a worker answers


def measure(row: Contestant, job: Job) -> Callable[[Request], Any]:
    """Answer {"case": case} with the outputs, but for texts, and then {"calls": n} with the times of so many calls."""
    state: dict[str, Any] = {}

    def answer(request: Request) -> Any:
        if not state:
            state["prepare"] = row.prepare(job, **row.options)
        if "case" in request:
            state["call"] = state["prepare"](request["case"])
            return None if isinstance(request["case"], str) else numbers(state["call"]())
        return timed(state["call"], request["calls"])

    return answer


def numbers(outputs: Any) -> list[float]:
    """The first outputs, from a tensor of either framework."""
    import numpy as np

    if "torch" in type(outputs).__module__:
        outputs = outputs.double().numpy()
    found: list[float] = np.asarray(outputs, np.float64).ravel()[:10_000].tolist()
    return found


def begin(row: Contestant, job: Job) -> Callable[[Request], Any]:
    """Answer {"call": whether} with the seconds of import over the framework, load and first call, and the peak of memory after each."""
    module, keras = row.options["module"], row.framework == "Keras"
    prefix = "TF" if keras else ""
    options = {name: value for name, value in row.options.items() if name not in ("module", "fold")}

    def answer(request: Request) -> dict[str, float]:
        importlib.import_module(FRAMEWORKS[row.framework])
        if keras:
            importlib.import_module("tf_keras" if module == HF else "keras")
        times = [time.perf_counter()]
        getattr(importlib.import_module(module), prefix + job.architecture)
        times.append(time.perf_counter())
        model = folded(opened(job, module, prefix, **options), row.options.get("fold"))
        times.append(time.perf_counter())
        found = {"import": times[1] - times[0], "load": times[2] - times[1], "memory, load": peak_memory()}
        if request["call"]:
            first(model, row.framework)
            found |= {"first call": time.perf_counter() - times[2], "memory, first call": peak_memory()}
        return found

    return answer


def first(model: Any, framework: str) -> None:
    """Call a model once, eagerly."""
    tokens = ids((1, 128))
    if framework == "Keras":
        import tensorflow as tf

        model(input_ids=tf.constant(tokens, tf.int32), training=False)
        return
    import torch

    with torch.inference_mode():
        model(input_ids=torch.from_numpy(tokens))


def peak_memory() -> float:
    """The most memory this process has held, in MiB."""
    import resource

    try:  # getrusage would give the peak of the process that started this one, if that is higher
        return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 2**10
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def accuracy(row: Contestant, job: Job) -> Callable[[Request], Any]:
    """Answer {"file": labelled data} with the metrics of the trained model on it, and what it predicts for each example."""

    def answer(request: Request) -> dict[str, Any]:
        import torch

        from mobilebert_common.frameworks import twin
        from mobilebert_common.training.jobs import Opened

        torch.set_num_threads(job.threads)
        model = Opened.open(twin("pt"), job.folder)
        model = replace(model, model=folded(model.model, row.options.get("fold")))
        data = model.setup.read(request["file"])
        scores, predictions = model.evaluate(data if job.texts is None else data.take(range(job.texts)))
        name, column = next(iter(predictions.columns.items()))
        return {"metrics": scores.metrics, "column": name, "predictions": column}

    return answer


KINDS = {"measure": measure, "begin": begin, "accuracy": accuracy}


def main() -> None:
    """Serve as the worker of one row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=[*KINDS, "write"])
    parser.add_argument("path", choices=[*ROWS, *EXPORTS])
    parser.add_argument("job", help="JSON")
    options = parser.parse_args()
    values = json.loads(options.job)
    job = Job(**{**values, "folder": Path(values["folder"]), "data": values["data"] and Path(values["data"])})
    if options.kind == "write":
        serve(lambda request: EXPORTS[options.path].write(job, Path(request["folder"]), **EXPORTS[options.path].options))
        return
    row = ROWS[options.path]
    answer = KINDS[options.kind](row, job)

    def checked(request: Request) -> Any:
        if importlib.util.find_spec(FRAMEWORKS[row.framework]) is None:
            raise Unavailable(f"{FRAMEWORKS[row.framework]} is not installed in its Python")
        return answer(request)

    serve(checked)


if __name__ == "__main__":
    main()
