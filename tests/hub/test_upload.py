"""push_to_hub through huggingface_hub, against as much of the hub as it talks to, on the loopback interface."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mobilebert_common.errors import ConfigError
from support.configs import make_config

constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra hub")
CONFIG = make_config(num_hidden_layers=1, num_feedforward_networks=1)


class Receiver(BaseHTTPRequestHandler):
    """Takes every file as a regular one and keeps it in `server.received`."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.calls.append((self.path, self.headers.get("Authorization")))  # type: ignore[attr-defined]
        url = f"http://127.0.0.1:{self.server.server_address[1]}/someone/model"
        if "/preupload/" in self.path:
            files = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]]
            return self.send({"files": files})
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.received[line["value"]["path"]] = content  # type: ignore[attr-defined]
                if line["key"] == "header":
                    self.server.received["message"] = line["value"]["summary"].encode()  # type: ignore[attr-defined]
            return self.send({"commitUrl": f"{url}/commit/{'a' * 40}", "commitOid": "a" * 40})
        return self.send({"url": url, "name": "someone/model"})

    def do_GET(self) -> None:
        self.send({"id": "someone/model", "sha": "a" * 40, "siblings": []})

    def send(self, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.received, server.calls = {}, []  # type: ignore[attr-defined]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def model_of(twin: str) -> Any:
    if twin == "pt":
        return pytest.importorskip("mobilebert_pt").MobileBertForSequenceClassification(CONFIG)
    return pytest.importorskip("mobilebert_tf").TFMobileBertForSequenceClassification(CONFIG)


@pytest.mark.parametrize("twin", ["pt", "tf"])
def test_push_to_hub(twin: str, hub: Any, tmp_path: Path) -> None:
    model = model_of(twin)
    found = model.push_to_hub("someone/model", token="hf_secret", private=True, use_temp_dir=True)
    assert found.commit_url.endswith("a" * 40)
    model.save_pretrained(tmp_path)
    saved = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    message = hub.received.pop("message").decode()
    assert message == f"Upload {type(model).__name__}" and hub.received == saved
    assert {header for _, header in hub.calls} == {"Bearer hf_secret"}
    assert [path for path, _ in hub.calls if "/commit/" in path] == ["/api/models/someone/model/commit/main"]
    model.push_to_hub("someone/model", token="hf_secret", revision="next", commit_message="again")
    assert hub.received["message"] == b"again" and hub.calls[-1][0] == "/api/models/someone/model/commit/next"
    with pytest.raises(ConfigError, match=r"tags=.* is not supported"):
        model.push_to_hub("someone/model", tags=["x"])
