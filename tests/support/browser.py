"""A headless Chromium driven over its DevTools protocol: open a page, listen to what it says, look at it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

BINARIES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)  # fmt: skip


def find_chromium() -> str | None:
    """Path of a Chromium, or None."""
    return next((found for name in BINARIES if (found := shutil.which(name))), None)


class Browser:
    """`with Browser() as browser: browser.open(url, 390)`."""

    def __enter__(self) -> Self:
        import websocket  # comes with the kubernetes package

        binary = find_chromium()
        if binary is None:
            raise FileNotFoundError(f"no Chromium found (looked for {', '.join(BINARIES)})")
        self._profile = tempfile.mkdtemp(prefix="mimir-browser-")
        self._process = subprocess.Popen(
            [binary, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        port, path = self._endpoint()
        self._socket = websocket.create_connection(f"ws://127.0.0.1:{port}{path}", timeout=30)
        self._number, self.events = 0, []
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(timeout=20)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _endpoint(self) -> tuple[str, str]:
        file = Path(self._profile) / "DevToolsActivePort"
        end = time.monotonic() + 30
        while time.monotonic() < end:
            lines = file.read_text().split() if file.exists() else []
            if len(lines) == 2:
                return lines[0], lines[1]
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise TimeoutError("Chromium did not open its DevTools port")

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self.events.append(answer)

    def _wait_for(self, method: str) -> None:
        while not any(event.get("method") == method for event in self.events):
            self.events.append(json.loads(self._socket.recv()))

    def open(self, url: str, width: int, height: int = 900, scheme: str = "light", media: str = "") -> None:
        """Load a page at a viewport size and colour scheme; earlier events are forgotten."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", media=media, features=features)
        self.events = []
        self._call("Page.navigate", url=url)
        self._wait_for("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression (JSON types)."""
        result = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def complaints(self) -> list[str]:
        """Console errors and warnings, uncaught exceptions and log entries since `open`."""
        self.evaluate("0")  # lets pending events arrive
        found = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            is_complaint = method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert")
            if is_complaint or method in ("Runtime.exceptionThrown", "Log.entryAdded"):
                found.append(json.dumps(params))
        return found

    def requests(self) -> list[str]:
        """Addresses asked for since `open`, the page itself included."""
        self.evaluate("0")
        sent = [event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [str(params["request"]["url"]) for params in sent]

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))
