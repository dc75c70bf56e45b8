"""A real headless Chromium, driven through its own debugging pipe: nothing stands between.

Chromium reads commands on descriptor 3 and answers on 4, JSON ended by a zero byte. What it can be
told is at https://chromedevtools.github.io/devtools-protocol/.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE = 20.0  # seconds: the machine may be busy


class Refused(AssertionError):  # noqa: N818  (it says what became of a command)
    """Chromium could not do what it was told to."""


class Tab:
    """One page: what it asked the network for, what went wrong in it, and hands to use it with."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self.browser, self.session = browser, session
        self.requests: list[str] = []
        self.blocked: list[str] = []
        """Requests that a page's own policy kept from leaving."""
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Tell Chromium to do something; returns its answer."""
        return self.browser.call(method, arguments, self.session)

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a file anew and wait until it has been read."""
        self.requests, self.blocked, self.errors = [], [], []
        # A change of the fragment alone would not load the file again.
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=path.as_uri() + fragment)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait for it to become true, through loadings of the page if need be."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(Refused):  # the page is just going away
                if self.ask(expression):
                    return
            time.sleep(0.02)
        raise AssertionError(f"never true: {expression}")

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowDown": 40, "ArrowRight": 39}
        for key in keys:
            about: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
            text = {"text": "\r"} if key == "Enter" else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", **about, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def hover(self, selector: str) -> None:
        """Bring the pointer to the middle of an element."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.ask(f"(() => {{ const b = {box}; return [b.x+b.width/2, b.y+b.height/2] }})()")
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """Press the mouse button on an element."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.ask(f"{found}.scrollIntoView({{block: 'center'}})")
        x, y = self.ask(
            f"(() => {{ const b = {found}.getBoundingClientRect(); "
            "return [b.x+b.width/2, b.y+b.height/2] })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def heard(self, event: dict[str, Any]) -> None:
        """Keep what the tests ask for of what Chromium tells unasked."""
        about = event["params"]
        if event["method"] == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        if event["method"] == "Network.loadingFailed" and about.get("blockedReason") == "csp":
            self.blocked.append(self.requests.pop())
        if event["method"] == "Runtime.exceptionThrown":
            self.errors.append(str(about["exceptionDetails"]))
        if event["method"] == "Runtime.consoleAPICalled":
            self.errors.append(str(about["args"]))
        if event["method"] == "Log.entryAdded":
            self.errors.append(str(about["entry"]))
        if event["method"] == "Page.javascriptDialogOpening":
            self.errors.append(f"dialog: {about['message']}")
            self.browser.send("Page.handleJavaScriptDialog", {"accept": True}, self.session)


class Browser:
    """The process, and the two ends of its pipe."""

    def __init__(self, commands: int, answers: int) -> None:
        self.commands, self.answers = commands, answers
        self.number, self.buffer = 0, b""
        self.tabs: dict[str, Tab] = {}

    def tab(self) -> Tab:
        """Open a page."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        about = {"targetId": target, "flatten": True}
        session = self.call("Target.attachToTarget", about)["sessionId"]
        self.tabs[session] = tab = Tab(self, session)
        return tab

    def call(
        self, method: str, arguments: dict[str, Any], session: str | None = None
    ) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        number = self.send(method, arguments, session)
        while True:
            message = self._message()
            if message.get("id") == number:
                if "error" in message:
                    raise Refused(f"{method}: {message['error']}")
                answer: dict[str, Any] = message["result"]
                return answer
            if message.get("sessionId") in self.tabs and "method" in message:
                self.tabs[message["sessionId"]].heard(message)

    def send(self, method: str, arguments: dict[str, Any], session: str | None = None) -> int:
        """Send a command; returns its number."""
        self.number += 1
        asked = {"id": self.number, "method": method, "params": arguments}
        text = json.dumps(asked | ({"sessionId": session} if session else {}))
        os.write(self.commands, text.encode() + b"\0")
        return self.number

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.answers], [], [], PATIENCE)
            assert ready, "Chromium does not answer"
            data = os.read(self.answers, 1 << 16)
            assert data, "Chromium has ended"
            self.buffer += data
        text, _, self.buffer = self.buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Start one with an empty profile, and end it."""
    commands_in, commands_out = map(_high, os.pipe())
    answers_in, answers_out = map(_high, os.pipe())
    theirs, ours = (commands_in, answers_out), (commands_out, answers_in)
    wiring = f'exec "$@" 3<&{commands_in} 4>&{answers_out}'
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    flags += ["--disable-extensions", "--remote-debugging-pipe", f"--user-data-dir={folder}"]
    command = ["bash", "-c", wiring, "bash", str(executable()), *flags]
    with subprocess.Popen(
        command, pass_fds=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        for end in theirs:
            os.close(end)
        try:
            yield Browser(*ours)
        finally:
            for end in ours:  # it ends when its pipe does
                os.close(end)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def executable() -> str | None:
    """Where Debian's Chromium is; None where it is not."""
    return shutil.which("chromium")


def _high(descriptor: int) -> int:
    """The same under a number that the shell's redirections do not overwrite."""
    high: int = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return high
