"""A real headless Chromium, driven through its debugging pipe without any other package.

Chromium reads commands on descriptor 3 and answers on 4, in JSON ended by a zero byte. Its commands
are listed at https://chromedevtools.github.io/devtools-protocol/.
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


class CommandError(AssertionError):
    """Chromium answered a command with an error."""


class Tab:
    """One page: its requests and errors, and methods that use it as a reader does."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self.browser, self.session = browser, session
        self.requests: list[str] = []
        self.blocked: list[str] = []
        """Requests that the page's content security policy blocked."""
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Send a command to Chromium and return its answer."""
        return self.browser.call(method, arguments, self.session)

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a file and wait until the page is complete."""
        self.requests, self.blocked, self.errors = [], [], []
        # A change of the fragment alone would not load the file again.
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=path.as_uri() + fragment)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def ask(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression is true. The page may be reloaded in the meantime."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(CommandError):  # the page is being reloaded
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
        """Move the pointer to the middle of an element."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.ask(f"(() => {{ const b = {box}; return [b.x+b.width/2, b.y+b.height/2] }})()")
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """Click on an element."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.ask(f"{found}.scrollIntoView({{block: 'center'}})")
        x, y = self.ask(
            f"(() => {{ const b = {found}.getBoundingClientRect(); "
            "return [b.x+b.width/2, b.y+b.height/2] })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def record_event(self, event: dict[str, Any]) -> None:
        """Record requests and errors from an event that Chromium has sent."""
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
    """A connection to a Chromium process."""

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
                    raise CommandError(f"{method}: {message['error']}")
                answer: dict[str, Any] = message["result"]
                return answer
            if message.get("sessionId") in self.tabs and "method" in message:
                self.tabs[message["sessionId"]].record_event(message)

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
    """Start Chromium with an empty profile, and stop it at the end."""
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
    """Return the path of Debian's Chromium; None if it is not installed."""
    return shutil.which("chromium")


def _high(descriptor: int) -> int:
    """Return a copy of a descriptor with a number that the shell's redirections do not use."""
    high: int = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return high
