"""Downloads by the real huggingface_hub from a server on the loopback interface."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import CheckpointError
from mobilebert_common.files.hub import resolve
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.schema import expand
from mobilebert_common.tasks.tables import Table
from mobilebert_common.tasks.task import new_setup
from mobilebert_common.tokenization import MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_common.tokenization.storage import FILES
from mobilebert_common.training import jobs
from support.hub_server import Hub, Repository, serving

constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra hub")

NAME = "google/mobilebert-uncased"
MAIN, OLD = "a" * 40, "b" * 40
SOURCES = [source.file for source in checkpoint.SOURCES]
SAFETENSORS, INDEX, BIN, BIN_INDEX, H5, H5_INDEX = SOURCES
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "low", "##er"]
SIZES: dict[str, Any] = {
    "vocab_size": len(TOKENS),
    "hidden_size": 16,
    "embedding_size": 8,
    "intra_bottleneck_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "max_position_embeddings": 12,
}
SHARDS = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]


def index(*shards: str) -> bytes:
    return json.dumps({"weight_map": {f"tensor {n}": shard for n, shard in enumerate(shards)}}).encode()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """What a small model saves, beside much that nobody asks for."""
    folder = tmp_path / "saved"
    config = MobileBertConfig(**SIZES)
    rng = np.random.default_rng(0)
    shapes = {name: tensor.shape for name, tensor in expand(config, "MobileBertModel").items()}
    tensors = {name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    tensors["embeddings.word_embeddings.weight"][0] = 0
    checkpoint.save(folder, config, "MobileBertModel", tensors)
    MobileBertTokenizerFast(vocab=TOKENS).save_pretrained(folder)
    others = ["modeling_mobilebert.py", "flax_model.msgpack", "model.fp16.safetensors", "README.md", "onnx/model.onnx"]
    return {path.name: path.read_bytes() for path in folder.iterdir()} | dict.fromkeys(others, b"x")


@pytest.fixture
def server(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one repository: `main` as saved, `old` with other defaults; downloads wait for nothing."""
    old = files | {"config.json": files["config.json"].replace(b'"hidden_act": "relu"', b'"hidden_act": "tanh"')}
    repository = Repository({MAIN: files, OLD: old}, {"main": MAIN, "old": OLD, "refs/pr/1": OLD})
    with serving(Hub({NAME: repository})) as hub:
        point_at(hub.url, monkeypatch)
        yield hub


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits before it tries again
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")


@pytest.fixture
def fetch(server: Hub, tmp_path: Path) -> Any:
    """Resolve the configuration and the weights into a cache below tmp_path."""

    def call(name: str = NAME, files: list[str] | None = None, first_of: list[str] = SOURCES, **options: Any) -> Path:
        return resolve(name, ["config.json"] if files is None else files, first_of, cache_dir=tmp_path / "cache", **options)

    return call


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        (SOURCES, [SAFETENSORS]),
        ([INDEX, *SHARDS, BIN, H5], [INDEX, *SHARDS]),
        ([BIN, BIN_INDEX, H5], [BIN]),
        ([H5], [H5]),
    ],
)
def test_only_the_best_weights_are_downloaded(
    there: list[str], wanted: list[str], files: dict[str, bytes], server: Hub, fetch: Any
) -> None:
    weights = files.pop(SAFETENSORS)
    files |= {name: weights + name.encode() for name in there}
    files[INDEX if INDEX in there else "none"] = index(*SHARDS)
    folder = fetch()
    assert sorted(path.name for path in folder.iterdir()) == sorted(["config.json", *wanted])
    assert server.downloads == ["config.json", *wanted]
    assert not [path for path in server.others if NAME in path]  # not even the list of files


def test_the_cache_serves_the_second_call(server: Hub, fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetch()
    server.requests.clear()
    assert fetch() == folder
    assert server.requests == [f"HEAD {NAME}/config.json"]  # whether main has moved
    assert fetch(revision=MAIN) == folder and fetch(local_files_only=True) == folder
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch() == folder
    assert len(server.requests) == 1


def test_what_is_not_there_is_remembered(server: Hub, files: dict[str, bytes], fetch: Any) -> None:
    """With the server gone a call asks nothing about files that the commit is known not to have."""
    files[BIN] = files.pop(SAFETENSORS)
    folder = fetch()
    server.repositories[NAME].refusal = (503, "")
    assert fetch() == folder
    said = rf"^{NAME}: is not a local folder, and vocab.txt cannot be downloaded .*503.*local_files_only"
    with pytest.raises(ConnectionError, match=said):
        fetch(files=["config.json", "vocab.txt"])
    assert fetch(files=["config.json", "vocab.txt"], local_files_only=True) == folder


def test_revisions(server: Hub, fetch: Any) -> None:
    assert fetch().name == fetch(revision="main").name == fetch(revision=MAIN).name == MAIN
    assert fetch(revision="old").name == fetch(revision=OLD).name == OLD
    assert MobileBertConfig.from_pretrained(str(fetch(revision="old"))).hidden_act == "tanh"
    with pytest.raises(CheckpointError, match=r"^google/mobilebert-uncased: has no revision 'v9': pass a branch"):
        fetch(revision="v9")


def test_a_call_sees_one_commit(server: Hub, files: dict[str, bytes], fetch: Any) -> None:
    """A branch that moves between two files does not mix them."""
    repository = server.repositories[NAME]

    class Moving(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            if len(server.requests) > 2:  # a HEAD and a GET for the first file
                self["main"] = OLD
            return super().get(name, default)

    repository.branches = Moving(repository.branches)
    repository.files[MAIN] = {**files, "vocab.txt": b"of main"}
    folder = fetch(files=["config.json", "vocab.txt"])
    assert (folder.name, (folder / "vocab.txt").read_bytes()) == (MAIN, b"of main")
    assert fetch(files=["config.json", "vocab.txt"]).name == OLD


REFUSALS = {
    "RepoNotFound": (401, "RepoNotFound", "is neither a local folder nor public on the hub: check the spelling, or pass token="),
    "GatedRepo": (403, "GatedRepo", "is gated: accept its terms .* token="),
    "401": (401, "", "check the spelling|check token="),
    "403": (403, "", r"is not accessible on the hub \(403\): check token="),
}


@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.parametrize("options", [{}, {"force_download": True}], ids=["", "force"])
def test_refusals_are_one_line(case: str, options: dict[str, Any], server: Hub, fetch: Any) -> None:
    *refusal, message = REFUSALS[case]
    server.repositories[NAME].refusal = tuple(refusal)
    with pytest.raises(CheckpointError, match=message) as error:
        fetch(**options)
    assert str(error.value).startswith(f"{NAME}: ") and "\n" not in str(error.value)
    assert error.value.__cause__ is None and error.value.__suppress_context__


def test_what_the_repository_does_not_have(server: Hub, files: dict[str, bytes], fetch: Any) -> None:
    with pytest.raises(CheckpointError, match=r"^nobody/nothing: is neither a local folder nor public"):
        fetch("nobody/nothing")
    del files[SAFETENSORS]
    with pytest.raises(CheckpointError, match=rf"^{NAME}: has none of {', '.join(SOURCES)}$"):
        fetch()
    del files["config.json"]
    with pytest.raises(CheckpointError, match=rf"^{NAME}: has none of config.json$"):
        fetch()
    with pytest.raises(CheckpointError, match=rf"^{NAME}: has none of vocab.txt in the cache \(unset local_files_only"):
        fetch(files=["vocab.txt"], local_files_only=True)
    assert fetch(files=list(FILES), first_of=[]).name == MAIN  # a tokenizer needs no config.json


@pytest.mark.parametrize("options", [{}, {"force_download": True}], ids=["", "force"])
def test_no_server(options: dict[str, Any], server: Hub, fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at("http://127.0.0.1:9", monkeypatch)
    said = r"and config.json cannot be downloaded from the hub \(.*refused.*pass local_files_only=True or set HF_HUB_OFFLINE=1"
    with pytest.raises(ConnectionError, match=said) as error:
        fetch(**options)
    assert str(error.value).startswith(f"{NAME}: ") and "\n" not in str(error.value)
    assert error.value.__cause__ is None and error.value.__suppress_context__


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "cannot be downloaded: Consistency check failed"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "was damaged during the download"),
    ],
    ids=["truncated", "a flipped bit"],
)
def test_damaged_downloads(damage: Any, message: str, server: Hub, fetch: Any) -> None:
    folder = fetch(first_of=[])
    server.repositories[NAME].damage = damage
    for _ in range(2):  # nothing of the first try is kept
        with pytest.raises((OSError, CheckpointError), match=message):
            fetch()
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    server.repositories[NAME].damage = None
    assert (fetch() / SAFETENSORS).exists()


def test_a_forced_download_is_compared_too(server: Hub, fetch: Any) -> None:
    fetch(revision=MAIN)
    server.repositories[NAME].damage = lambda content: content[:-1] + bytes([content[-1] ^ 1])
    for revision in (MAIN, "main"):
        with pytest.raises(CheckpointError, match="was damaged during the download"):
            fetch(revision=revision, files=[], first_of=[SAFETENSORS], force_download=True)


def test_a_forced_download_asks_again_for_what_cannot_change(server: Hub, fetch: Any) -> None:
    for options in ({}, {}, {"force_download": True}):
        fetch(revision=MAIN, **options)
    assert server.downloads == ["config.json", SAFETENSORS] * 2


def test_a_full_disk(server: Hub, fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(OSError, match=rf"{NAME}: config.json cannot be written to the cache: No space left") as error:
        fetch()
    assert error.value.errno == errno.ENOSPC


@pytest.mark.parametrize("shard", ["../../../evil.safetensors", "/tmp/evil.safetensors", "a/b.safetensors", "..\\evil.safetensors"])
def test_an_index_cannot_name_files_elsewhere(
    shard: str, server: Hub, files: dict[str, bytes], fetch: Any, tmp_path: Path
) -> None:
    del files[SAFETENSORS]
    files |= {INDEX: index(shard), shard: b"evil"}
    with pytest.raises(CheckpointError, match="names files that cannot be shards"):
        fetch()
    assert server.downloads == ["config.json", INDEX]
    assert not list(tmp_path.rglob("*evil*"))


def test_an_index_cannot_name_code(server: Hub, files: dict[str, bytes], fetch: Any) -> None:
    del files[SAFETENSORS]
    files[INDEX] = index("modeling_mobilebert.py")
    assert sorted(path.name for path in fetch().iterdir()) == ["config.json", INDEX]
    with pytest.raises(CheckpointError, match=r"modeling_mobilebert.py: cannot be read"):
        checkpoint.load(fetch(), "MobileBertModel")


@pytest.mark.parametrize("commit", ["../../../evil", "/evil", "..", "../refs"])
def test_a_commit_cannot_be_a_path(commit: str, server: Hub, fetch: Any, tmp_path: Path) -> None:
    server.repositories[NAME].commit_header = commit
    with pytest.raises((CheckpointError, OSError)):
        fetch()
    assert not list(tmp_path.rglob("evil")) and not Path("/evil").exists()


@pytest.mark.parametrize("place", ["main/sub", "sub"])
def test_subfolder(place: str, server: Hub, files: dict[str, bytes], fetch: Any) -> None:
    for name in ("config.json", SAFETENSORS):
        files[f"{place}/{name}"] = files.pop(name)
    folder = fetch(subfolder=place)
    assert folder.as_posix().endswith(f"snapshots/{MAIN}/{place}")
    assert checkpoint.load(folder, "MobileBertModel").config.hidden_size == 16
    assert fetch(subfolder=place, local_files_only=True) == folder


def test_the_token_is_sent(server: Hub, fetch: Any) -> None:
    fetch(token="hf_secret")
    assert server.tokens == {"Bearer hf_secret"}


def test_everything_opens_by_name(server: Hub, tmp_path: Path) -> None:
    where: dict[str, Any] = {"cache_dir": tmp_path / "cache", "revision": "main"}
    assert MobileBertConfig.from_pretrained(NAME, **where, num_labels=3).num_labels == 3
    assert server.downloads == ["config.json"]
    for cls in (MobileBertTokenizer, MobileBertTokenizerFast):
        tokenizer = cls.from_pretrained(NAME, **where, model_max_length=9)
        assert (tokenizer.name_or_path, len(tokenizer), tokenizer.model_max_length) == (NAME, len(TOKENS), 9)
    assert server.downloads == ["config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json"]
    weights = checkpoint.load(NAME, "MobileBertModel", "auto", **where)
    assert weights.dtype == "float32" and not weights.fresh
    assert server.downloads[4:] == [SAFETENSORS]
    assert checkpoint.load(NAME, "MobileBertModel", **where, config=weights.config).config == weights.config


def test_files_that_repositories_share(server: Hub, fetch: Any, tmp_path: Path) -> None:
    """Later releases of the client keep a large file once, in a folder beside the repositories, and link to it."""
    folder = fetch()
    blob = (folder / SAFETENSORS).resolve()
    shared = tmp_path / "cache" / "blobs" / "aa" / ("a" * 64)
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(os.path.relpath(shared, blob.parent))
    assert checkpoint.load(folder, "MobileBertModel").fresh == ()
    outside = tmp_path / "elsewhere"
    shared.rename(outside)
    shared.symlink_to(outside)
    with pytest.raises(CheckpointError, match="link to a file outside"):
        checkpoint.load(folder, "MobileBertModel")


def test_training_can_start_from_the_hub(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    data = Table(Path("data"), ["a", "b"], None, ["good", "bad"])
    begin = jobs.start(new_setup("classification"), NAME, data)
    assert len(begin.tokenizer) == len(TOKENS) and not begin.fresh


ENVIRONMENT = """
import sys
from mobilebert_common.model.config import MobileBertConfig
print(MobileBertConfig.from_pretrained(sys.argv[1]).hidden_size)
"""


NO_NETWORK = """
import sys, time
time.sleep = lambda seconds: None  # the client waits before it tries again
sys.argv = ["mobilebert", "predict", sys.argv[1], "a text"]
from mobilebert_common.cli.main import main
main()
"""


def test_the_command_line_says_once_that_there_is_no_network(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-c", NO_NETWORK, NAME]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and lines[-1].startswith(f"error: {NAME}: ") and "HF_HUB_OFFLINE=1" in lines[-1]
    assert sum("Retry 1/" in line for line in lines) == 1, done.stderr


def test_the_environment_of_huggingface_hub_counts(server: Hub, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    for offline in ("0", "1"):
        command = [sys.executable, "-c", ENVIRONMENT, NAME]
        environment["HF_HUB_OFFLINE"] = offline
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.stdout == "16\n", done.stderr
    assert server.requests == [f"HEAD {NAME}/config.json", f"GET {NAME}/config.json"]
