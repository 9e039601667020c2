"""Threads for calls that may hang, shared fairly between clients.

Theory of operation. A call that hangs cannot be interrupted, so what it may take from others is bounded
before it starts: one client's calls run in a quarter of the threads at most, and clients take turns for the
rest. What one client has asked for waits in a queue of its own. A *prompt* job is one that is known not to
hang; it goes first, and one thread is kept back for such jobs.

Threads start when they are needed. They are daemons, and nothing ever waits for one: a call that hangs does
not hold up the end of the process.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

T = TypeVar("T")


class Job(Generic[T]):
    """One call: ``work`` runs in a thread, then ``done`` in the reactor's with its result or exception."""

    __slots__ = ("client", "clients", "done", "prompt", "started", "work")

    def __init__(
        self,
        work: Callable[[], T],
        done: Callable[[T | None, Exception | None], None],
        *,
        prompt: bool = False,
    ) -> None:
        self.work = work
        self.done = done
        self.prompt = prompt
        self.started = False
        self.client = ""
        self.clients: set[str] = set()


class LookupThreads:
    """Up to ``limit`` threads; see the head of the module. All methods belong to the reactor's thread."""

    _log = Logger()

    def __init__(self, reactor: IReactorFromThreads, limit: int, name: str) -> None:
        self._reactor = reactor
        self._limit = limit
        self._name = name
        self._share = max(1, limit // 4)
        self._kept_back = 1 if limit > 1 else 0
        self._threads = 0
        self._busy = 0
        self._running: dict[str, int] = {}
        self._prompt: deque[Job[Any]] = deque()
        self._queues: OrderedDict[str, OrderedDict[Job[Any], None]] = OrderedDict()
        self._inbox: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._closed = False

    def __repr__(self) -> str:
        waiting = sum(map(len, self._queues.values())) + len(self._prompt)
        return f"<LookupThreads {self._name} busy={self._busy}/{self._limit} waiting={waiting}>"

    def add(self, job: Job[Any], client: str) -> None:
        """Run ``job`` when it is ``client``'s turn. A client without a name has no share to keep to."""
        if job.prompt:
            self._prompt.append(job)
        else:
            self._enqueue(job, client)
        self._start_jobs()

    def join(self, job: Job[Any], client: str) -> None:
        """``client`` waits for ``job`` too: it starts at whoever's turn comes first."""
        if not job.started and not job.prompt and client not in job.clients:
            self._enqueue(job, client)
            self._start_jobs()

    def withdraw(self, job: Job[Any]) -> bool:
        """Take back ``job``; False when it has started, or is dropped already."""
        if job.started or self._closed:
            return False
        if job.prompt:
            self._prompt.remove(job)
        self._dequeue(job)
        return True

    def close(self) -> None:
        """Drop what waits and let each thread end as soon as it can, without waiting for it."""
        self._closed = True
        self._queues.clear()
        self._prompt.clear()
        for _ in range(self._threads):
            self._inbox.put(None)

    def _enqueue(self, job: Job[Any], client: str) -> None:
        job.clients.add(client)
        self._queues.setdefault(client, OrderedDict())[job] = None

    def _dequeue(self, job: Job[Any]) -> None:
        for client in job.clients:
            queue = self._queues[client]
            del queue[job]
            if not queue:
                del self._queues[client]
        job.clients.clear()

    def _start_jobs(self) -> None:
        while not self._closed and self._busy < self._limit:
            job = self._prompt.popleft() if self._prompt else self._next()
            if job is None:
                return
            job.started = True
            self._busy += 1
            self._running[job.client] = self._running.get(job.client, 0) + 1
            if self._busy > self._threads:
                self._start_thread()
            if self._threads:
                self._inbox.put(job)
            else:
                error = RuntimeError("the system starts no thread")
                self._reactor.callFromThread(self._finished, job, None, error)

    def _next(self) -> Job[Any] | None:
        """Take the first job of the next client that has not its full share; at most a few clients have."""
        if self._busy >= self._limit - self._kept_back:
            return None
        for client, queue in self._queues.items():
            if client and self._running.get(client, 0) >= self._share:
                continue
            job = next(iter(queue))
            self._queues.move_to_end(client)
            self._dequeue(job)
            job.client = client
            return job
        return None

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
        self._busy -= 1
        self._running[job.client] -= 1
        if not self._running[job.client]:
            del self._running[job.client]
        if not self._closed:
            self._start_jobs()
            job.done(result, error)
