"""A real headless Chromium, driven over its debugging protocol."""

import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from websockets.sync.client import connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

_OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--no-first-run",
    "--disable-background-networking", "--disable-dev-shm-usage", "--remote-debugging-port=0",
)  # fmt: skip


class BrowserError(AssertionError):
    """A command that the browser refused."""


class Browser:
    """One page of a browser of its own.

    Args:
        folder: an empty folder for its profile.

    Attributes:
        problems: errors of scripts, refused requests and violations of the security policy.
    """

    def __init__(self, folder):
        self._process = subprocess.Popen(
            [CHROMIUM, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.problems = []
        self._number = 0
        port = _port(Path(folder) / "DevToolsActivePort")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as reply:
            pages = [page for page in json.load(reply) if page["type"] == "page"]
        self._open = contextlib.ExitStack()
        address = pages[0]["webSocketDebuggerUrl"]
        self._socket = self._open.enter_context(connect(address, max_size=2**25))
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def close(self):
        """End the browser."""
        with contextlib.suppress(Exception):
            self.send("Browser.close")
        self._open.close()
        self._process.terminate()
        self._process.wait(10)

    def send(self, method, **parameters):
        """Send a command of the protocol, and return its result.

        Raises:
            BrowserError: the browser refused it.
        """
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            reply = json.loads(self._socket.recv(timeout=30))
            if reply.get("id") == self._number:
                if "error" in reply:
                    raise BrowserError(reply["error"]["message"])
                return reply["result"]
            self._note(reply)

    def _note(self, event):
        if event["method"] == "Runtime.exceptionThrown":
            self.problems.append(event["params"]["exceptionDetails"])
        if event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
            self.problems.append(event["params"]["entry"])

    def open(self, url):
        """Open a page in this tab; its scripts may still run."""
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def value(self, script):
        """Return the JSON value of an expression in the page."""
        reply = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def wait(self, script, seconds=20):
        """Wait until an expression is true."""
        deadline = time.monotonic() + seconds
        while not self._true(script):
            assert time.monotonic() < deadline, f"never true: {script}"
            time.sleep(0.05)

    def _true(self, script):
        try:
            return self.value(f"Boolean({script})")
        except BrowserError as error:  # the page was left before the script ended
            if "navigated" not in str(error) and "context" not in str(error):
                raise
            return False

    def text(self, selector):
        """Return the visible text of an element."""
        return self.value(f"document.querySelector({json.dumps(selector)}).innerText")

    def type(self, selector, text):
        """Focus a field and type into it."""
        self.value(f"document.querySelector({json.dumps(selector)}).focus()")
        self.send("Input.insertText", text=text)

    def press(self, key):
        """Press and release a key."""
        text = {"text": "\r"} if key == "Enter" else {}
        codes = {"Enter": 13, "ArrowLeft": 37, "Home": 36, "End": 35, "Tab": 9}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key,
                windowsVirtualKeyCode=codes[key], **(text if kind == "keyDown" else {}),
            )  # fmt: skip

    def resize(self, width, height=800):
        """Show the page at a size in pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def prefer(self, scheme):
        """Ask pages for their dark or light colors."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.send("Emulation.setEmulatedMedia", features=[feature])


def _port(file):
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError, IndexError):
            return int(file.read_text().splitlines()[0])
        assert time.monotonic() < deadline, "Chromium did not start"
        time.sleep(0.05)
