"""Turns for what may hang, shared fairly between clients.

Theory of operation. What hangs takes a turn from others until it ends, so what it may take is bounded before it
starts: one client's jobs have a quarter of the turns at most, and clients are served one after another for the rest.
What one client has asked for waits in a queue of its own. A *prompt* job is one that is known not to hang; it goes
first, and one turn is kept back for such jobs.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar


class Queued:
    """What waits for a turn, and whose it is."""

    __slots__ = ("client", "clients", "prompt", "started")

    def __init__(self, *, prompt: bool = False) -> None:
        self.prompt = prompt
        self.started = False
        self.client = ""
        self.clients: set[str] = set()


J = TypeVar("J", bound=Queued)


class FairQueue(Generic[J]):
    """Up to ``limit`` jobs have a turn at a time; see the head of the module. ``start`` begins one that has got it."""

    def __init__(self, limit: int, start: Callable[[J], None]) -> None:
        self.limit = limit
        self._start = start
        self._share = max(1, limit // 4)
        self._kept_back = 1 if limit > 1 else 0
        self.busy = 0
        """How many have a turn."""
        self._running: dict[str, int] = {}
        self._prompt: deque[J] = deque()
        self._queues: OrderedDict[str, OrderedDict[J, None]] = OrderedDict()
        self.closed = False
        self._is_starting = False

    def __repr__(self) -> str:
        return f"<FairQueue {self.in_words}>"

    @property
    def in_words(self) -> str:
        """How full it is, for a `repr`."""
        waiting = sum(map(len, self._queues.values())) + len(self._prompt)
        return f"busy={self.busy}/{self.limit} waiting={waiting}"

    def add(self, job: J, client: str) -> None:
        """Start ``job`` when it is ``client``'s turn. A client without a name has no share to keep to."""
        if job.prompt:
            self._prompt.append(job)
        else:
            self._enqueue(job, client)
        self._start_jobs()

    def join(self, job: J, client: str) -> None:
        """``client`` waits for ``job`` too: it starts at whoever's turn comes first."""
        if not job.started and not job.prompt and client not in job.clients:
            self._enqueue(job, client)
            self._start_jobs()

    def withdraw(self, job: J) -> bool:
        """Take back ``job``; False when it has started, or is dropped already."""
        if job.started or self.closed:
            return False
        if job.prompt:
            self._prompt.remove(job)
        self._dequeue(job)
        return True

    def over(self, job: J) -> None:
        """``job`` has started, and has ended now: its turn is another's."""
        self.busy -= 1
        self._running[job.client] -= 1
        if not self._running[job.client]:
            del self._running[job.client]
        self._start_jobs()

    def close(self) -> None:
        """Drop what waits."""
        self.closed = True
        self._queues.clear()
        self._prompt.clear()

    def _enqueue(self, job: J, client: str) -> None:
        job.clients.add(client)
        self._queues.setdefault(client, OrderedDict())[job] = None

    def _dequeue(self, job: J) -> None:
        for client in job.clients:
            queue = self._queues[client]
            del queue[job]
            if not queue:
                del self._queues[client]
        job.clients.clear()

    def _start_jobs(self) -> None:
        if self._is_starting:
            # Of a job that is over at once; the loop below goes on with the next one.
            return
        self._is_starting = True
        try:
            while not self.closed and self.busy < self.limit:
                job = self._prompt.popleft() if self._prompt else self._next()
                if job is None:
                    return
                job.started = True
                self.busy += 1
                self._running[job.client] = self._running.get(job.client, 0) + 1
                self._start(job)
        finally:
            self._is_starting = False

    def _next(self) -> J | None:
        """Take the first job of the next client that has not its full share; at most a few clients have."""
        if self.busy >= self.limit - self._kept_back:
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
