"""As much of the hub as a download needs, on the loopback interface: repositories in memory, and a log of what was asked for."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGE = 1000  # bytes; such a file is named by its SHA-256, as LFS does


@dataclass
class Repository:
    """One repository.

    Attributes:
        files: {commit: {name: content}}.
        branches: {name: commit}.
        refusal: (status, X-Error-Code) of every answer, in place of the file.
        commit_header: what it says its commit is, if not the truth.
        damage: changes a content on its way.
    """

    files: dict[str, dict[str, bytes]]
    branches: dict[str, str]
    refusal: tuple[int, str] | None = None
    commit_header: str | None = None
    damage: Any = None


@dataclass
class Hub:
    """The hub.

    Attributes:
        requests: those for files so far, as "GET owner/name/file", without the revision.
        others: the paths of those for anything else.
        tokens: the headers that say who asks.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    url: str = ""

    @property
    def downloads(self) -> list[str]:
        """The names of the files whose content was sent."""
        return [request.rsplit("/", 1)[1] for request in self.requests if request.startswith("GET ")]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a hub in a thread."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            hub.tokens.add(self.headers.get("Authorization"))
            name, found, rest = self.path.strip("/").partition("/resolve/")
            if not found:
                hub.others.append(self.path)
                return self.send(404, {})
            revision, _, file = rest.partition("/")
            hub.requests.append(f"{self.command} {name}/{file}")
            repository = hub.repositories.get(name)
            if repository is None:
                return self.send(401, {"X-Error-Code": "RepoNotFound"})
            if repository.refusal is not None:
                status, code = repository.refusal
                return self.send(status, {"X-Error-Code": code} if code else {})
            commit = repository.branches.get(revision, revision)
            if commit not in repository.files:
                return self.send(404, {"X-Error-Code": "RevisionNotFound"})
            headers = {"X-Repo-Commit": repository.commit_header or commit}
            content = repository.files[commit].get(file)
            if content is None:
                return self.send(404, {**headers, "X-Error-Code": "EntryNotFound"})
            large = len(content) >= LARGE
            digest = (hashlib.sha256 if large else hashlib.sha1)(content).hexdigest()
            headers |= {"X-Linked-Etag" if large else "ETag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            if self.command == "GET" and repository.damage is not None:
                content = repository.damage(content)
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            return self.send(206 if start else 200, headers, content[start:])

        def send(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
