"""What the tests in a browser share: packages from npm, a server on the loopback interface, and headless Chromium."""

import base64
import functools
import itertools
import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NPM = Path(os.environ.get("MOBILEBERT_NPM") or ROOT / ".tox" / "npm").absolute()  # packages stay here from one run to the next
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # nothing can leave this machine
    "--remote-debugging-pipe",
)
TIMEOUT = 60.0  # seconds
POLL = 0.02  # seconds


def npm_packages(*packages: str) -> Path:
    """A folder with these packages from npm in node_modules; where there are none, the test skips."""
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("Node.js and npm are not installed")
    folder = NPM / re.sub(r"[^\w.-]+", "-", "-".join(packages)).strip("-")
    if not folder.is_dir():
        NPM.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=NPM))  # renamed when complete, as another test may install the same
        options = ["--prefix", str(scratch), "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        options += ["--fetch-retries=1", "--fetch-timeout=60000"]  # milliseconds
        done = subprocess.run(["npm", "install", *options, *packages], capture_output=True, text=True, timeout=300)
        if done.returncode == 0 and not folder.is_dir():
            scratch.rename(folder)
        shutil.rmtree(scratch, ignore_errors=True)
        if done.returncode != 0:
            pytest.skip(f"npm cannot install {' '.join(packages)}: {done.stderr[-300:]}")
    return folder


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder of static files in a thread; yields its address."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Browser:
    """Headless Chromium, driven by the DevTools protocol: messages that end with NUL, through two pipes.

    Attributes:
        process: Chromium.
    """

    def __init__(self, profile: Path) -> None:
        if CHROMIUM is None:
            pytest.skip("Chromium is not installed")
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        wrapper = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'  # the numbers that Chromium expects
        self.process = subprocess.Popen(
            ["bash", "-c", wrapper, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._numbers = itertools.count(1)
        self._rest = b""
        self._answers: dict[int, dict[str, Any]] = {}
        self._events: list[dict[str, Any]] = []

    def close(self) -> None:
        """End Chromium and all of its processes."""
        try:
            self.call("Browser.close")
            self.process.wait(TIMEOUT)
        except (OSError, TimeoutError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        finally:
            os.close(self._to)
            os.close(self._from)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + TIMEOUT
        while number not in self._answers:
            self._receive(deadline - time.monotonic(), method)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def events(self, *sessions: str) -> list[dict[str, Any]]:
        """What has been reported so far for some sessions."""
        return [event for event in self._events if event.get("sessionId") in sessions]

    def _receive(self, seconds: float, method: str) -> None:
        ready, _, _ = select.select([self._from], [], [], max(0.0, seconds))
        content = os.read(self._from, 1 << 20) if ready else b""
        if not content:
            raise TimeoutError(f"Chromium did not answer {method}")
        *messages, self._rest = (self._rest + content).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._events.append(message)


class Page:
    """A page in a tab of its own, at the size of a phone or a desk.

    Attributes:
        sessions: the names of the page and of its workers in the protocol.
    """

    def __init__(self, browser: Browser, url: str, width: int = 1280, height: int = 800, is_dark: bool = False) -> None:
        self.browser = browser
        context = browser.call("Target.createBrowserContext")["browserContextId"]  # nothing is cached from another page
        self._target = browser.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self.sessions = [browser.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)  # its workers
        self.resize(width, height, is_dark)
        self.call("Page.navigate", url=url)
        self.wait("location.href !== 'about:blank' && document.readyState === 'complete'")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol on the page."""
        return self.browser.call(method, self.sessions[0], **parameters)

    def resize(self, width: int, height: int, is_dark: bool = False) -> None:
        """Show the page as on another screen."""
        scale = 2 if width < 600 else 1
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def evaluate(self, script: str) -> Any:
        """The value of an expression of JavaScript on the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait(self, script: str, what: Callable[[Any], Any] = bool) -> Any:
        """Wait until an expression has a value that passes a test, and return it."""
        deadline = time.monotonic() + TIMEOUT
        while not what(found := self.evaluate(script)):
            self._follow_workers()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{script} is still {found!r}; the page says {self.errors()}")
            time.sleep(POLL)
        return found

    def type(self, text: str) -> None:
        """Insert a text at once into the field that has the focus."""
        self.call("Input.insertText", text=text)

    def requests(self) -> list[str]:
        """The addresses that the page and its workers have asked for, but for those of data in the page itself."""
        events = self.browser.events(*self.sessions)
        urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]

    def errors(self) -> list[str]:
        """Warnings, errors and exceptions in the console of the page and its workers."""
        found = []
        for event in self.browser.events(*self.sessions):
            kind, parameters = event["method"], event["params"]
            if kind == "Runtime.exceptionThrown":
                found.append(json.dumps(parameters["exceptionDetails"]))
            elif kind == "Log.entryAdded" and parameters["entry"]["level"] in ("warning", "error"):
                found.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
            elif kind == "Runtime.consoleAPICalled" and parameters["type"] in ("warning", "error", "assert"):
                found.append(json.dumps([argument.get("value") for argument in parameters["args"]]))
        return found

    def screenshot(self, path: Path) -> None:
        """Write what is in the window as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """Close the tab."""
        self.browser.call("Target.closeTarget", targetId=self._target)

    def _follow_workers(self) -> None:
        """Let workers start, after what they report has been switched on."""
        for event in self.browser.events(*self.sessions):
            if event["method"] == "Target.attachedToTarget" and (session := event["params"]["sessionId"]) not in self.sessions:
                self.sessions.append(session)
                for domain in ("Runtime", "Log", "Network"):
                    self.browser.call(f"{domain}.enable", session)
                self.browser.call("Runtime.runIfWaitingForDebugger", session)
