# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium, driven over its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.device.websocket_client import WebSocket

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
COMPLAINTS = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
START_S = 60.0
WAIT_S = 30.0


class Browser:
    """A Chromium of its own with an empty profile in ``directory``."""

    def __init__(self, program: str, directory: Path) -> None:
        # HOME too: its crash reporter and font cache would write there.
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={directory}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"HOME": str(directory), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        )
        try:
            port, path = self._await_file(directory / "DevToolsActivePort")
            self._socket = WebSocket(f"ws://127.0.0.1:{port}{path}")
        except BaseException:
            self._end()
            raise
        self._last = 0
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.call("Browser.close")
        except (EOFError, OSError):
            pass
        finally:
            self._socket.close()
            self._end()

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The result of one DevTools method; events that come meanwhile go to their page."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        self._socket.send(json.dumps(message if session is None else {**message, "sessionId": session}))
        while True:
            answer = json.loads(self._socket.receive()[1])
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
            if answer.get("method") in COMPLAINTS and answer.get("sessionId") in self._pages:
                self._pages[answer["sessionId"]].complaints.append(answer["params"])

    def page(self, width: int, height: int, dark: bool = False, phone: bool = False) -> Page:
        """A new tab."""
        # In a window of its own: a tab behind another one counts as hidden, and the live page then rests.
        target = self.call("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        return page

    def _await_file(self, path: Path) -> tuple[int, str]:
        """Port and path of DevTools, which Chromium writes when it is ready: the only sign of it that there is."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            lines = path.read_text().splitlines() if path.exists() else []
            if len(lines) >= 2:
                return int(lines[0]), lines[1]
            assert self._process.poll() is None, "Chromium ended"
            time.sleep(0.02)
        raise AssertionError("Chromium did not start")

    def _end(self) -> None:
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Page:
    """One tab, closed at the end of the ``with`` block.

    Attributes:
        complaints: what was written to its console so far, errors of loading and exceptions among it.
    """

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target
        self.complaints: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Until a JavaScript expression holds; the browser looks again at every change of the page and every 50 ms."""
        text = f"""new Promise((done) => {{
            const end = Date.now() + {WAIT_S * 1000};
            const look = () => {{
                let holds = false;
                try {{ holds = ({condition}); }} catch {{ /* not there yet */ }}
                if (holds || Date.now() > end) done(Boolean(holds)); else setTimeout(look, 50);
            }};
            look();
        }})"""
        assert self.evaluate(text), (
            f"never happened: {condition}; the page says: {self.evaluate('document.body?.innerText')}"
        )

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Save what is seen, or the whole page, as PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))
