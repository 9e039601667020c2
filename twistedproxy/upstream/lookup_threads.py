"""Threads for calls that may hang, shared fairly between clients.

Theory of operation. A call that hangs cannot be interrupted, so each has to wait for its turn (see `fairness`) before
it gets a thread. Threads start when they are needed. They are daemons, and nothing ever waits for one: a call that
hangs does not hold up the end of the process.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from twistedproxy.upstream.fairness import FairQueue, Queued

T = TypeVar("T")


class Job(Queued, Generic[T]):
    """One call: ``work`` runs in a thread, then ``done`` in the reactor's with its result or exception."""

    __slots__ = ("done", "work")

    def __init__(
        self,
        work: Callable[[], T],
        done: Callable[[T | None, Exception | None], None],
        *,
        prompt: bool = False,
    ) -> None:
        super().__init__(prompt=prompt)
        self.work = work
        self.done = done


class LookupThreads:
    """Up to ``limit`` threads; see the head of the module. All methods belong to the reactor's thread."""

    _log = Logger()

    def __init__(self, reactor: IReactorFromThreads, limit: int, name: str) -> None:
        self._reactor = reactor
        self._name = name
        self._queue: FairQueue[Job[Any]] = FairQueue(limit, self._start)
        self._threads = 0
        self._inbox: SimpleQueue[Job[Any] | None] = SimpleQueue()

    def __repr__(self) -> str:
        return f"<LookupThreads {self._name} {self._queue.in_words}>"

    def add(self, job: Job[Any], client: str) -> None:
        """Run ``job`` when it is ``client``'s turn. A client without a name has no share to keep to."""
        self._queue.add(job, client)

    def join(self, job: Job[Any], client: str) -> None:
        """``client`` waits for ``job`` too: it starts at whoever's turn comes first."""
        self._queue.join(job, client)

    def withdraw(self, job: Job[Any]) -> bool:
        """Take back ``job``; False when it has started, or is dropped already."""
        return self._queue.withdraw(job)

    def close(self) -> None:
        """Drop what waits and let each thread end as soon as it can, without waiting for it."""
        self._queue.close()
        for _ in range(self._threads):
            self._inbox.put(None)

    def _start(self, job: Job[Any]) -> None:
        if self._queue.busy > self._threads:
            self._start_thread()
        if self._threads:
            self._inbox.put(job)
        else:
            error = RuntimeError("the system starts no thread")
            self._reactor.callFromThread(self._finished, job, None, error)

    def _start_thread(self) -> None:
        thread = Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The threads that there are get to it.
            self._log.warn("no thread could be started for {threads!r}", threads=self)
        else:
            self._threads += 1

    def _work(self) -> None:
        """What a thread does: the one method that runs outside the reactor's."""
        while (job := self._inbox.get()) is not None:
            result, error = None, None
            try:
                result = job.work()
            except Exception as exception:
                error = exception
            self._reactor.callFromThread(self._finished, job, result, error)

    def _finished(self, job: Job[T], result: T | None, error: Exception | None) -> None:
        self._queue.over(job)
        if not self._queue.closed:
            job.done(result, error)
