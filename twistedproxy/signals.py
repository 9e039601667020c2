"""What the process does when it gets a signal, from before it opens anything until it is gone.

Theory of operation. There are three moments at which a signal would end the process that should begin its drain, or
find nothing left to end:

- before the service starts. It listens since `makeService`, and twistd may fork and change its account first. What
  comes then waits for the reactor to run.
- while the reactor starts. It puts a handler of its own in the place of ours, and after that handler was called, twistd
  ends the process by its own signal. So the reactor is made to put ours there.
- at the exit. Python restores the default actions before it takes its modules apart, which takes a while; but what is
  ignored stays so.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Any


class Signals:
    """Makes each of the ``calls``, which are by the numbers of signals, when its signal has come.

    A call is made in a turn of the reactor, and not in the middle of whatever the signal has interrupted.
    """

    def __init__(self, reactor: Any, calls: Mapping[int, Callable[[], object]]) -> None:
        self._reactor = reactor
        self._calls = calls

    def __repr__(self) -> str:
        return f"<Signals {' '.join(signal.Signals(number).name for number in self._calls)}>"

    def heed(self) -> None:
        """Heed them from now on, to the end. It is for the main thread, before the reactor runs."""
        for number in self._calls:
            signal.signal(number, self._received)
        # What the reactor installs for SIGTERM when it starts. Of SIGINT it changes nothing but the default.
        self._reactor.sigTerm = self._received
        self._reactor.addSystemEventTrigger("after", "shutdown", self._ignore)

    def _received(self, number: int, _frame: object) -> None:
        self._reactor.callFromThread(self._calls[number])

    def _ignore(self) -> None:
        for number in self._calls:
            signal.signal(number, signal.SIG_IGN)
