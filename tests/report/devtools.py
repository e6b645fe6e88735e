"""A browser driven over a pipe: keys and clicks that the page cannot tell from a person's."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
           "--disable-component-update", "--disable-sync", "--window-size=1500,1000")  # fmt: skip


class Page:
    """A page in Chromium, over the protocol of its developer tools: JSON ended by NUL on file descriptors 3 and 4.

    Args:
        chromium: The program.
        page: The file to open.
        profile: A folder for the browser.
    """

    def __init__(self, chromium: str, page: Path, profile: Path) -> None:
        command, self._write = os.pipe()
        self._read, answer = os.pipe()
        pipes = f'exec "$@" 3<&{command} 4>&{answer}'  # the browser wants these two numbers
        shell = [
            "bash",
            "-c",
            pipes,
            "bash",
            chromium,
            *OPTIONS,
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ]
        self._process = subprocess.Popen(shell, pass_fds=(command, answer), stderr=subprocess.DEVNULL)
        os.close(command)
        os.close(answer)
        self._number, self._rest, self._session = 0, b"", ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.navigate", url=page.as_uri())
        self.run("new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    def __enter__(self) -> Page:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        os.close(self._write)
        os.close(self._read)
        self._process.terminate()
        self._process.wait(timeout=30)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser and return its answer; what it tells unasked is passed over."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        os.write(
            self._write, json.dumps(asked | ({"sessionId": self._session} if self._session else {})).encode() + b"\0"
        )
        while True:
            while b"\0" not in self._rest:
                part = os.read(self._read, 1 << 16)
                assert part, "the browser has gone"
                self._rest += part
            told, self._rest = self._rest.split(b"\0", 1)
            answer: dict[str, Any] = json.loads(told)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def run(self, script: str) -> Any:
        """Return what an expression of the page gives, awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key, given by its name, its virtual code and the text that it types."""
        parts = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **parts, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **parts)

    def click(self, x: float, y: float) -> None:
        """Press and release the left button of the mouse."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
