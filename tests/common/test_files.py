import builtins
import errno
import fcntl
import hashlib
import inspect
import io
import json
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import MAX_FINDING, MAX_FINDINGS, CheckpointError, shortened
from mobilebert_common.files import folder as folder_module
from mobilebert_common.files.folder import (
    MANIFEST_FILE,
    PENDING,
    Content,
    Folder,
    finish_renames,
    read_consistently,
    read_manifest,
    save_files,
    write_atomically,
)
from mobilebert_common.files.reading import StableFile, is_inside
from mobilebert_common.files.strict_json import read_bytes, read_json

OLD = {"config.json": b"old", "weights": b"old" * 1000, "kept": b"kept"}
NEW = {"config.json": b"new", "weights": b"new" * 2000, "added": b"added"}
STATES = {"old": OLD, "new": {**OLD, **NEW}}


def contents(values: dict[str, bytes]) -> dict[str, Content]:
    """One of the files through a function, as a library would write it, in two pieces."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.write(values["weights"][:100])
            os.fsync(file.fileno())
            file.write(values["weights"][100:])

    return {**values, "weights": write}


def state(folder: Path) -> str:
    """Which of STATES a reader sees."""
    opened = Folder.open(folder)
    seen = {name: opened.read(name) for name in {**OLD, **NEW} if opened.has(name)}
    return next(name for name, values in STATES.items() if values == seen)


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@contextmanager
def failing(after: int, error: Callable[[], BaseException], *, once: bool = False) -> Iterator[list[int]]:
    """Let so many calls of the operating system pass and fail the others (or only the next)."""
    calls = [0]

    def call(real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == after + 1 or (calls[0] > after and not once):
            raise error()
        return real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((os, "replace"), (os, "fsync"), (os, "open"), (io, "open"), (builtins, "open")):
            patch.setattr(module, name, partial(call, getattr(module, name)))
        yield calls


def full_disk() -> OSError:
    return OSError(28, "No space left on device")


@pytest.mark.parametrize(("error", "once"), [(full_disk, True), (full_disk, False), (KeyboardInterrupt, True)])
def test_a_failure_at_any_step_leaves_the_old_or_the_new(
    error: Callable[[], BaseException], once: bool, tmp_path: Path
) -> None:
    seen = []
    for step in count():
        folder = tmp_path / str(step)
        save_files(folder, contents(OLD))
        with failing(step, error, once=once) as calls:
            try:
                save_files(folder, contents(NEW))
            except (OSError, KeyboardInterrupt):
                failed = True
            else:
                failed = False
        if not failed:
            assert calls[0] <= step
            break
        seen.append(state(folder))
        if seen[-1] == "old" and error is full_disk:  # an interrupt at the commit leaves the sweeping to the next save
            assert hidden(folder) == []
        save_files(folder, {"other": b"other"})
        assert state(folder) == seen[-1] and hidden(folder) == []
    assert seen == sorted(seen, reverse=True)  # old, then new, and never old again
    assert set(seen) == {"old", "new"} and len(seen) > 15


def test_a_first_save_that_fails_leaves_nothing(tmp_path: Path) -> None:
    for step in count():
        folder = tmp_path / str(step)
        try:
            with failing(step, full_disk):
                save_files(folder, contents(OLD))
        except OSError as error:
            assert "No space left" in str(error)
            if not (folder / MANIFEST_FILE).exists():
                assert list(folder.iterdir()) == []
            else:
                assert state(folder) == "old"
        else:
            break
    assert step > 10


DYING = f"""
import os, sys
from pathlib import Path
from mobilebert_common.files.folder import Content, save_files
{inspect.getsource(contents)}
folder, left = Path(sys.argv[1]), int(sys.argv[2])

def step():
    global left
    left -= 1
    if left < 0:
        os._exit(9)

def hook(event, arguments):
    if event in ("open", "os.rename", "os.remove") and str(folder) in str(arguments[0]):
        step()

def fsync(descriptor, real=os.fsync):
    step()
    real(descriptor)

os.fsync = fsync
sys.addaudithook(hook)
save_files(folder, contents({NEW!r}))
"""


def test_a_process_that_dies_at_any_step_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    seen = []
    for step in count():
        folder = tmp_path / str(step)
        save_files(folder, contents(OLD))
        command = [sys.executable, "-c", DYING, str(folder), str(step)]
        if (status := subprocess.run(command, check=False, timeout=60).returncode) == 0:
            break
        assert status == 9
        seen.append(state(folder))
        save_files(folder, {"other": b"other"})
        assert state(folder) == seen[-1]
        assert hidden(folder) == []
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {"old", "new"} and len(seen) > 20


SAVING = """
import sys
from itertools import count
import numpy as np
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.schema import expand
config = MobileBertConfig(vocab_size=50, hidden_size=128, num_hidden_layers=1, max_position_embeddings=8)
shapes = {name: tensor.shape for name, tensor in expand(config, "MobileBertModel").items()}
for number in count(int(sys.argv[2])):
    tensors = {name: np.full(shape, number, np.float32) for name, shape in shapes.items()}
    checkpoint.save(sys.argv[1], config.replace(note=number), "MobileBertModel", tensors)
    print(number, flush=True)
"""


def test_kill_while_saving(tmp_path: Path) -> None:
    """After each kill the last checkpoint that was reported, or the one in the making, loads whole."""
    generator, number = random.Random(0), 0
    for _ in range(5):
        command = [sys.executable, "-c", SAVING, str(tmp_path), str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            reported = int(process.stdout.readline())
            time.sleep(generator.uniform(0.0, 0.1))
            process.send_signal(signal.SIGKILL)
            reported = max([reported, *map(int, process.stdout.read().split())])
        weights = checkpoint.load(tmp_path, "MobileBertModel")
        number = weights.config.model_extra["note"]
        assert reported <= number <= reported + 1
        assert all((array == number).all() for array in weights.tensors.values())
        number += 1
    save_files(tmp_path, {})
    assert hidden(tmp_path) == []


def test_what_is_durable_before_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def label(path: Path) -> str:
        kind = next((mark for mark in (".tmp-", ".new-") if mark in path.name), "")
        return kind + path.name.split(kind)[0].lstrip(".") if kind else path.name

    def spy_fsync(descriptor: int) -> None:
        number = os.fstat(descriptor).st_ino
        events.append(("fsync", next(label(p) for p in (tmp_path, *tmp_path.iterdir()) if p.stat().st_ino == number)))
        fsync(descriptor)

    def spy_replace(source: Path, target: Path) -> None:
        events.append((label(Path(source)), label(Path(target))))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    save_files(tmp_path, {"a": b"1", "b": lambda path: path.write_bytes(b"2") and None})
    assert events == [
        ("fsync", ".tmp-a"),
        (".tmp-a", ".new-a"),
        ("fsync", ".tmp-b"),
        (".tmp-b", ".new-b"),
        ("fsync", ".tmp-manifest.json"),
        ("fsync", tmp_path.name),
        (".tmp-manifest.json", "manifest.json"),
        ("fsync", tmp_path.name),
        (".new-a", "a"),
        (".new-b", "b"),
        ("fsync", tmp_path.name),
    ]
    events.clear()
    write_atomically(tmp_path / "c", b"3")
    assert events == [("fsync", ".tmp-c"), (".tmp-c", "c"), ("fsync", tmp_path.name)]


def test_stale_temporaries_are_swept_and_nothing_else(tmp_path: Path) -> None:
    stale = [".weights.tmp-123", ".weights.new-0123456789abcdef", ".manifest.json.tmp-9"]
    others = [".gitignore", "notes.tmp-1", "weights.new-1"]
    for name in (*stale, *others):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".cache.tmp-1").mkdir()
    save_files(tmp_path, {"a": b"1"})
    assert {path.name for path in tmp_path.iterdir()} == {*others, ".cache.tmp-1", "a", MANIFEST_FILE}


def test_the_files_have_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    save_files(tmp_path, contents(OLD))
    (tmp_path / "plain").touch()
    assert {path.stat().st_mode for path in tmp_path.iterdir()} == {(tmp_path / "plain").stat().st_mode}


def test_write_atomically_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    for step in count():
        try:
            with failing(step, full_disk):
                write_atomically(path, b"new")
        except OSError:
            assert path.read_bytes() in (b"old", b"new") and hidden(tmp_path) == []
        else:
            break
    assert path.read_bytes() == b"new" and step >= 4


def manifest(digests: dict[str, str]) -> str:
    """With the digest of its own that save_files would give it."""
    own = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
    return json.dumps({"self": own, "sha256": digests})


def test_manifest(tmp_path: Path) -> None:
    save_files(tmp_path, OLD)
    assert read_manifest(tmp_path) == {name: hashlib.sha256(value).hexdigest() for name, value in OLD.items()}
    save_files(tmp_path, {"added": b"added"})
    (tmp_path / "kept").unlink()
    save_files(tmp_path, {})
    assert set(read_manifest(tmp_path)) == {"config.json", "weights", "added"}


def test_a_changed_file_is_refused_until_the_manifest_goes(tmp_path: Path) -> None:
    save_files(tmp_path, OLD)
    (tmp_path / "weights").write_bytes(b"older")
    with (
        pytest.raises(CheckpointError, match=r"weights: .*differs from manifest\.json") as error,
        Folder.open(tmp_path).file("weights").open(verify=True),
    ):
        pass
    assert error.value.path == tmp_path / "weights"
    (tmp_path / MANIFEST_FILE).unlink()
    folder = Folder.open(tmp_path)
    assert folder.read("weights") == b"older" and not folder.has("absent")
    with pytest.raises(CheckpointError, match="absent: cannot be read: No such file"):
        folder.read("absent")


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    save_files(tmp_path, OLD)
    assert Folder.open(tmp_path).read("kept", 4) == b"kept"
    os.truncate(tmp_path / "kept", 1 << 40)  # of zeros, which take no room
    with pytest.raises(CheckpointError, match=r"kept: is larger than the 3 bytes"):
        Folder.open(tmp_path).read("kept", 3)


def test_a_folder_under_a_hidden_name_is_no_file_of_a_save(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / MANIFEST_FILE).write_text(manifest({"a": "0" * 64}))
    (tmp_path / f".a{PENDING}{'0' * 16}").mkdir()
    finish_renames(tmp_path)
    (tmp_path / MANIFEST_FILE).write_text(manifest({"a": hashlib.sha256(b"1").hexdigest()}))
    (tmp_path / f".a{PENDING}{hashlib.sha256(b'1').hexdigest()[:16]}").mkdir()
    assert Folder.open(tmp_path).read("a") == b"1"
    save_files(tmp_path, {"b": b"2"})
    assert (tmp_path / "a").read_bytes() == b"1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"sha256": 5}',
        '{"sha256": {"a": 5}}',
        manifest({"a": "x" * 64}),
        manifest({"a": "0" * 63}),
        manifest({"a": "0" * 64}).replace("self", "selves"),
        manifest({"a": "0" * 64}).replace('"a"', '"b"'),
        *(manifest({name: "0" * 64}) for name in ("../a", "a/b", "/a", "..", ".", "", "a\0", "a" * 234, "\ud800", "é" * 117)),
    ],
)
def test_bad_manifests(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST_FILE).write_text(text)
    (tmp_path / "a").write_bytes(b"1")
    with pytest.raises(CheckpointError) as error:
        Folder.open(tmp_path)
    assert error.value.path == tmp_path / MANIFEST_FILE
    save_files(tmp_path, {"a": b"2"})
    assert Folder.open(tmp_path).read("a") == b"2"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[1]", "a JSON object, not a list"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c'"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -1e400}', "-1e400"),
        (b'{"a": ' + b"[" * 32 + b"]" * 32 + b"}", "more than 32 levels"),
        (b'{"a": ' * 33 + b"0" + b"}" * 33, "more than 32 levels"),
        (b'{"a": {"b": ["\\uDC00"]}}', "lone surrogate"),
        (b'{"\\ud83d": 0}', "lone surrogate"),
        (b'{"a": "' + b"x" * 250 + b'"}', "larger than the 250 bytes"),
    ],
)
def test_read_json(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(CheckpointError, match=message) as error:
        read_json(tmp_path / "x", 250)
    assert error.value.path == tmp_path / "x"


def test_json_that_is_just_right(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"a": ' + "[" * 31 + "]" * 31 + r', "b": "\ud83d\ude00 \\ud800"}')
    assert read_json(tmp_path / "x")["b"] == "\U0001f600 \\ud800"


def test_read_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert read_bytes(tmp_path / "x", 5) == b"12345"
    os.mkfifo(tmp_path / "pipe")  # would wait for a writer
    for path in (tmp_path / "absent", tmp_path, tmp_path / "x" / "y", tmp_path / "pipe"):
        with pytest.raises(CheckpointError, match=r"cannot be read|is not a regular file"):
            read_bytes(path, 5)


def test_links(tmp_path: Path) -> None:
    """A link out of the folder is refused, but for the hub's cache, whose snapshots link to blobs beside them."""
    folder, outside = tmp_path / "models" / "snapshots" / "abc", tmp_path / "secret"
    for path in (folder, folder.parent.parent / "blobs"):
        path.mkdir(parents=True)
    outside.write_bytes(b"1")
    (folder.parent.parent / "blobs" / "1").write_bytes(b"2")
    (folder / "inside").write_bytes(b"3")
    for name, target in {"a": "../../blobs/1", "b": "inside", "c": "../../../secret", "d": str(outside), "e": "/dev/zero"}.items():
        (folder / name).symlink_to(target)
    assert [Folder.open(folder).read(name) for name in "ab"] == [b"2", b"3"]
    for name in "cde":
        with pytest.raises(CheckpointError, match="is a link to a file outside its folder"):
            Folder.open(folder).read(name)


@pytest.mark.parametrize(
    ("folder", "target", "inside"),
    [
        ("here", "here/file", True),
        ("here", "here/sub/file", True),
        ("here", "here", True),
        ("here", "hereafter/file", False),
        ("here", "file", False),
        ("here", "blobs/file", False),
        ("cache/models--a--b/snapshots/abc", "cache/models--a--b/blobs/file", True),
        ("cache/models--a--b/snapshots/abc/sub/sub", "cache/models--a--b/blobs/file", True),
        ("cache/models--a--b/snapshots/abc", "cache/models--a--b/snapshots/abc/file", True),
        ("cache/models--a--b/snapshots/abc/sub", "cache/models--a--b/snapshots/abc/file", False),
        ("cache/models--a--b/snapshots/abc", "cache/models--a--b/snapshots/def/file", False),
        ("cache/models--a--b/snapshots/abc", "cache/models--a--b/refs/file", False),
        ("cache/models--a--b/snapshots/abc", "cache/models--c--d/blobs/file", False),
        ("cache/models--a--b/snapshots/abc", "cache/blobs/aa/file", True),  # what repositories share
        ("cache/models--a--b/snapshots/abc", "cache/file", False),
        ("home/mine/snapshots/abc", "home/mine/blobs/file", True),
        ("home/mine/snapshots/abc", "home/blobs/file", False),  # no cache of the hub
    ],
)
def test_is_inside(folder: str, target: str, inside: bool, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "link").symlink_to(tmp_path / target)
    assert is_inside(tmp_path / target, tmp_path / folder) is is_inside(tmp_path / "link", tmp_path / folder) is inside


def test_json_of_too_many_values(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"a": [' + "0," * 250_000 + "0]}")
    with pytest.raises(CheckpointError, match="more than 250,000 values"):
        read_json(tmp_path / "x", 2 << 20)


def test_checkpoint_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(CheckpointError(Path("a"), "b")))
    assert (str(error), error.path, error.reason) == ("a: b", Path("a"), "b")


def test_an_error_never_commands_a_terminal() -> None:
    assert str(CheckpointError(Path("a\n\x1b[2J"), "b")) == r"'a\n\x1b[2J': b"


def test_findings_are_shortened() -> None:
    assert shortened(["a", "b"]) == "a\n  b" and shortened(["a", "b"], ", ") == "a, b"
    many = shortened(["x" * 1000] * 1000).split("\n  ")
    assert {len(line) for line in many[:-1]} == {MAX_FINDING} and len(many) == MAX_FINDINGS + 1
    assert many[-1] == "and 950 more"


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from mobilebert_common.errors import CheckpointError
from mobilebert_common.files.folder import Folder, save_files
os.setuid(65534)
try:
    print(Folder.open(Path(sys.argv[1])).read("weights")) if sys.argv[2] == "read" else save_files(Path(sys.argv[1]), {"weights": b""})
except (CheckpointError, OSError) as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("mode", "action", "printed"),
    [
        (0o755, "read", "b'old"),  # a reader needs no right to write
        (0o644, "read", r"CheckpointError .*manifest\.json: cannot be read: Permission denied"),
        (0o000, "read", r"CheckpointError .*manifest\.json: cannot be read: Permission denied"),
        (0o755, "save", r"PermissionError .*Permission denied: .*'"),
        (0o000, "save", r"PermissionError .*Permission denied: .*'"),
    ],
)
def test_rights(mode: int, action: str, printed: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_files(folder, OLD)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.is_relative_to(Path("/tmp")) and parent != Path("/tmp"):
            parent.chmod(0o755)
    folder.chmod(mode)
    done = subprocess.run([sys.executable, "-c", UNPRIVILEGED, str(folder), action], capture_output=True, text=True, check=False)
    assert re.match(printed, done.stdout), done.stdout + done.stderr
    assert "model" in done.stdout or action == "read"


def test_names_the_file_system_does_not_take(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises((CheckpointError, OSError, ValueError), match=r"x{99}|null byte"):
            Folder.open(path)
        with pytest.raises((OSError, ValueError)):
            save_files(path, OLD)
    with pytest.raises(OSError, match=r"x{99}"):
        save_files(tmp_path, {"x" * 250: b""})
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    file = StableFile(path)
    with file.open() as opened:
        assert opened.read() == b"one"
    path.rename(tmp_path / "moved")
    moved = StableFile(path, (path, tmp_path / "moved"))
    moved.identity = file.identity
    with moved.open() as opened:  # under another name it is the same
        assert opened.read() == b"one"
    for change in (lambda: path.write_bytes(b"other"), lambda: os.utime(path, (0, 0))):
        path.write_bytes(b"one")
        file = StableFile(path)
        with pytest.raises(CheckpointError, match="weights: changed while it was being read"), file.open():
            change()
        with pytest.raises(CheckpointError, match="weights: changed while it was being read"), file.open():
            pass


def test_writers_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    entered, left = threading.Event(), threading.Event()

    def slow(path: Path) -> None:
        entered.set()
        left.wait(10)
        order.append("slow")
        path.write_bytes(b"slow")

    first = threading.Thread(target=save_files, args=(tmp_path, {"a": slow}))
    first.start()
    entered.wait(10)
    second = threading.Thread(target=save_files, args=(tmp_path, {"a": lambda path: (order.append("fast"), path.write_bytes(b"fast"))[0]}))
    second.start()
    time.sleep(0.05)
    assert order == []
    left.set()
    first.join()
    second.join()
    assert order == ["slow", "fast"] and Folder.open(tmp_path).read("a") == b"fast" and hidden(tmp_path) == []
    monkeypatch.setattr(folder_module, "LOCK_SECONDS", 0.05)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(TimeoutError, match="another process has been saving into it") as error:
        save_files(tmp_path, {"a": b"late"})
    os.close(descriptor)
    assert error.value.filename == str(tmp_path) and Folder.open(tmp_path).read("a") == b"fast"


def test_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")  # as NFS says of a directory

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ".a.tmp-of-a-writer-at-work").touch()
    (tmp_path / ".a.tmp-forgotten").touch()
    os.utime(tmp_path / ".a.tmp-forgotten", (0, 0))
    save_files(tmp_path, {"a": b"1"})
    assert Folder.open(tmp_path).read("a") == b"1" and hidden(tmp_path) == [".a.tmp-of-a-writer-at-work"]
    assert "this file system has no locks" in caplog.text


def test_a_reader_starts_again_where_a_save_came_between(tmp_path: Path) -> None:
    save_files(tmp_path, {"a": b"1", "b": b"1"})
    seen: list[bytes] = []

    def read(folder: Folder) -> bytes:
        first = folder.read("a")
        if len(seen) < 3:
            seen.append(first)
            save_files(tmp_path, {"a": b"%d" % (len(seen) + 1), "b": b"%d" % (len(seen) + 1)})
        return first + folder.read("b")

    assert read_consistently(tmp_path, read) == b"44" and seen == [b"1", b"2", b"3"]
    (tmp_path / MANIFEST_FILE).unlink()

    def read_unverified(folder: Folder) -> bytes:
        first = folder.read("a")
        if not folder.digests:
            save_files(tmp_path, {"a": b"5", "b": b"5"})
        return first + folder.read("b")

    assert read_consistently(tmp_path, read_unverified) == b"55"
    (tmp_path / "b").write_bytes(b"6")
    with pytest.raises(CheckpointError, match="b: is not the file that was saved"):
        read_consistently(tmp_path, lambda folder: folder.file("b").read(1))


def test_a_folder_that_never_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "LONGEST_PAUSE", 0.0)
    save_files(tmp_path, {"a": b"0"})
    count = iter(range(1, 1000))

    def read(folder: Folder) -> bytes:
        save_files(tmp_path, {"a": b"%d" % next(count)})
        return folder.read("a")

    with pytest.raises(CheckpointError, match="other processes keep saving into it"):
        read_consistently(tmp_path, read)


def test_the_longest_name(tmp_path: Path) -> None:
    """Its hidden name is as long as a file system takes."""
    name = "x" * 233
    save_files(tmp_path, {name: b"1"})
    assert Folder.open(tmp_path).read(name) == b"1" and hidden(tmp_path) == []


def test_renames_are_finished_for_a_library_that_opens_files_by_name(tmp_path: Path) -> None:
    save_files(tmp_path, {"a": b"1", "b": b"2"})
    digest = read_manifest(tmp_path)["a"]
    (tmp_path / "a").rename(tmp_path / f".a{PENDING}{digest[:16]}")  # as a crash after the commit leaves it
    finish_renames(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"1" and hidden(tmp_path) == []
