"""A headless Chromium of a test's own, steered over its DevTools protocol.

It trusts what is in the NSS database of its home and nothing else, and its traffic goes through a proxy, also that to
loopback.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import connect

from tests.live.command import run
from tests.live.daemon import awaited, clean_environment
from twistedproxy.portal.trust import PEM, SYSTEMS

PATIENCE: Final = 50.0
"""How long one thing may take, in seconds: the machine may be slow and has more to do."""

NOTHING: Final = "<-loopback>"
"""What does not go through the proxy. Without this it would be loopback."""

PREFERENCES: Final = {
    # Otherwise it asks somebody whether it is online when a certificate is not in order.
    "alternate_error_pages": {"enabled": False},
}

Event = dict[str, Any]

_QUIET: Final = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
)
"""What a browser does without, so that it starts soon and asks the network for nothing but what a test wants."""


def trust(home: Path, authority: str, subject: str) -> None:
    """Do in ``home`` as people are told to, so that the browser there trusts an ``authority``, given in PEM."""
    (home / PEM).write_text(authority)
    commands = [step.text for step in SYSTEMS["chromium"].named(subject).steps if step.is_command]
    run(home, "sh", "-e", "-c", "\n".join(commands))


class Browser:
    """A Chromium whose home, profile and output are in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        profile = directory / "profile"
        (profile / "Default").mkdir(parents=True)
        (profile / "Default" / "Preferences").write_text(json.dumps(PREFERENCES))
        command = ["chromium", "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}", *_QUIET]
        # What no page asks for gets nowhere.
        command[4:4] = ["--proxy-server=http://127.0.0.1:9", f"--proxy-bypass-list={NOTHING}"]
        if os.getuid() == 0:
            # Its sandbox does not work for root.
            command.append("--no-sandbox")
        with (directory / "chromium.txt").open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env=clean_environment(directory),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._connection = ExitStack()
        try:
            port, path = awaited(lambda: self._listens(profile / "DevToolsActivePort"), "a browser", PATIENCE)
            opened = connect(f"ws://127.0.0.1:{port}{path}", proxy=None, max_size=None)
            self._socket = self._connection.enter_context(opened)
        except BaseException:
            self._kill()
            raise
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._events: list[Event] = []

    def __repr__(self) -> str:
        return f"<Browser {self.directory.name} pid={self._process.pid}>"

    def _listens(self, file: Path) -> list[str]:
        assert self._process.poll() is None, (self.directory / "chromium.txt").read_text()
        lines = file.read_text().split() if file.is_file() else []
        return lines if len(lines) == 2 else []

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Tell it to do something; what it answers."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        self._socket.send(json.dumps(message))
        while number not in self._answers:
            self._receive()
        answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer)
        return dict(answer["result"])

    def event(self, matches: Callable[[Event], object]) -> Event:
        """The first event that ``matches``, as soon as there is one."""
        seen = 0
        while True:
            for event in self._events[seen:]:
                if matches(event):
                    return event
            seen = len(self._events)
            self._receive()

    def events(self, session: str, method: str) -> list[Event]:
        """The parameters of the events so far that are called ``method``."""
        return [
            event["params"] for event in self._events if (event["method"], event.get("sessionId")) == (method, session)
        ]

    def _receive(self) -> None:
        message = json.loads(self._socket.recv(timeout=PATIENCE))
        if "id" in message:
            self._answers[message["id"]] = message
        else:
            self._events.append(message)

    def page(self, proxy: str) -> Page:
        """An empty page that shares nothing with the others and goes through ``proxy``."""
        shared = self.call("Target.createBrowserContext", proxyServer=proxy, proxyBypassList=NOTHING)
        context = shared["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, session, context)

    def stop(self) -> None:
        """End it, and whatever it has started."""
        try:
            with self._connection:
                self.call("Browser.close")
            self._process.wait(PATIENCE)
        finally:
            self._kill()

    def _kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all of it has ended
        self._process.wait(PATIENCE)


class Page:
    """One page of a browser."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self._browser = browser
        self._session = session
        self._context = context
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Tell it to do something; what it answers."""
        return self._browser.call(method, self._session, **parameters)

    def go(self, url: str) -> str:
        """Load ``url``, and all that belongs to it. What went wrong in Chromium's words; empty when nothing did."""
        answer = self.call("Page.navigate", url=url)
        if "errorText" in answer:
            return str(answer["errorText"])
        self._browser.event(
            lambda event: (
                event["method"] == "Page.lifecycleEvent"
                and event["params"]["name"] == "load"
                and event["params"]["loaderId"] == answer["loaderId"]
            )
        )
        return ""

    def fetch(self, url: str) -> str:
        """Fetch ``url`` from the page, and forget the answer. What went wrong is as of `go`, but comes at once."""
        before = {failure["requestId"] for failure in self._failures()}
        if self.value(f"fetch({json.dumps(url)}, {{mode: 'no-cors'}}).then(() => true, () => false)"):
            return ""
        self._browser.event(lambda _: {failure["requestId"] for failure in self._failures()} - before)
        return str(self._failures()[-1]["errorText"])

    def _failures(self) -> list[dict[str, Any]]:
        return self._browser.events(self._session, "Network.loadingFailed")

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is, or what its promise comes to."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def responses(self) -> list[dict[str, Any]]:
        """What is known of the responses so far: ``Network.Response``."""
        return [event["response"] for event in self._browser.events(self._session, "Network.responseReceived")]

    def close(self) -> None:
        """Close it, with its connections."""
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)
