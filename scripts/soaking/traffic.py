"""What the clients of a soak test do: one method for each kind of conduct, chosen again and again by their weights."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

from scripts.soaking.client import PATIENCE, Connection, Cut, Malformed
from scripts.soaking.content import PIECE, Comparison, Content
from scripts.soaking.judging import NOTHING, Answer, Expected, Failure, verdict
from scripts.soaking.ledger import Ledger
from scripts.soaking.misconduct import FAULTS, MALFORMED, Fault
from scripts.soaking.origin_server import LOOPBACK

MIB: Final = 1 << 20
PAUSE: Final = 0.06
"""Seconds that a client rests between two turns, on average."""

STOPPED_SECONDS: Final = 7.0
"""How long one that stops reading does: more than twice the proxy's patience, which begins anew when some was taken."""

SLOW_SECONDS: Final = 0.02
"""How long a slow reader waits after each piece."""

RETRIES: Final = 5


class Traffic:
    """The clients of the proxy at ``port``, and the ``origins`` that they ask for, by name and port."""

    def __init__(self, seed: str, port: int, origins: Mapping[str, int], ledger: Ledger) -> None:
        self.tunnels_answered = 0
        self.unreadable_answered = 0
        self.unnumbered_sent = 0
        """Tunnels and malformed requests: those whose lines in the access log do not tell which they are."""
        self.most_requests = 0
        """How many requests there may be; 0 for any number."""
        self._seed = seed
        self._random = random.Random(f"{seed} traffic")
        self._port = port
        self._origins = origins
        self._ledger = ledger
        self._over = False
        self._kinds: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "get kept alive": (20, self._kept_alive),
            "get": (14, self._get),
            "get large": (3, self._get_large),
            "get trickled": (3, lambda: self._one("get trickled", "trickle", self._random.randint(10, 20_000))),
            "get bytewise": (3, lambda: self._one("get bytewise", "bytewise", self._random.randint(1, 600))),
            "upload": (8, self._upload),
            "tunnel": (8, self._tunnel),
            "pipelined": (6, self._pipelined),
            "slow reader": (2, self._slow_reader),
            "stopped reader": (1, self._stopped_reader),
            "vanished": (8, self._vanish),
            "malformed": (6, self._malformed),
            "faulty": (10, self._faulty),
        }

    def __repr__(self) -> str:
        return f"<Traffic {self._ledger!r}>"

    async def flow(self, clients: int, kinds: frozenset[str] = frozenset()) -> None:
        """Let ``clients`` work side by side until `stop`, each finishing what it has begun."""
        wanted = {name: kind for name, kind in self._kinds.items() if not kinds or name in kinds}
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(self._work(wanted))

    def start(self) -> None:
        """Let `flow` flow again."""
        self._over = False

    def stop(self) -> None:
        """Begin nothing new."""
        self._over = True

    async def _work(self, kinds: Mapping[str, tuple[int, Callable[[], Awaitable[None]]]]) -> None:
        names = list(kinds)
        weights = [weight for weight, _ in kinds.values()]
        while not self._over and not 0 < self.most_requests <= self._ledger.requests:
            name = self._random.choices(names, weights)[0]
            began = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE + 2 * STOPPED_SECONDS):
                    await kinds[name][1]()
            except (OSError, Cut, Malformed, TimeoutError) as error:
                # Each turn takes its own troubles as far as they have an excuse; what gets here has none.
                self._ledger.count(name, "failed", Failure(0, began, time.monotonic(), repr(error)))
            await asyncio.sleep(self._random.random() * 2 * PAUSE)

    # ------------------------------------------------------------ one request and its answer

    def _head(self, method: str, origin: str, path: str, number: int, *fields: str) -> bytes:
        authority = f"{LOOPBACK}:{self._origins[origin]}"
        lines = [f"{method} http://{authority}{path}?n={number} HTTP/1.1", f"Host: {authority}", *fields]
        return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"

    def _content(self, number: int, size: int) -> Content:
        return Content(f"{self._seed} {number}", size)

    async def _answer(self, connection: Connection, expected: Expected, content: Content, slow: float = 0.0) -> Answer:
        """Read one answer. Raises `Malformed`, and `Cut` when the connection ended before it."""
        comparison = Comparison(content)
        head = await connection.head()
        end: Literal["complete", "cut"] = "complete"
        try:
            async for piece in connection.content(head):
                if head.status == 200:
                    comparison.feed(piece)
                if slow:
                    await asyncio.sleep(slow)
        except Cut:
            end = "cut"
        else:
            self._ledger.answered(expected.number)
        return Answer(head.status, head.number, end, comparison.same, comparison.whole)

    def _judge(
        self, kind: str, connection: Connection, expected: Expected, answer: Answer, began: float, more: str = ""
    ) -> None:
        outcome, said = verdict(expected, answer)
        failure = Failure(connection.port, began, time.monotonic(), f"{said} {more}".rstrip())
        self._ledger.count(kind, outcome, failure)

    async def _exchange(
        self, kind: str, connection: Connection, head: bytes, expected: Expected, content: Content, slow: float = 0.0
    ) -> Literal["answered", "closed", "failed"]:
        """Send a request and judge its answer; ``closed`` when there may be one on another connection."""
        began = connection.resting_since
        self._ledger.sent(expected.number)
        try:
            async with asyncio.timeout(PATIENCE):
                await connection.send(head)
                answer = await self._answer(connection, expected, content, slow)
        except Cut as error:
            if connection.answered and not error.begun:
                # RFC 9112 section 9.3.1: a connection may be closed between two requests at any time. Its process may
                # have been killed while it rested.
                failure = Failure(connection.port, connection.resting_since, time.monotonic(), str(error))
                self._ledger.count(kind, "retried", failure)
                return "closed"
            self._judge(kind, connection, expected, NOTHING, began, str(error))
        except (Malformed, TimeoutError) as error:
            self._judge(kind, connection, expected, NOTHING, began, repr(error))
        else:
            self._judge(kind, connection, expected, answer, began)
            if answer.end == "complete":
                return "answered"
        return "failed"

    async def _one(self, kind: str, how: str, size: int, slow: float = 0.0, cut: bool = False) -> None:
        """A GET on a connection of its own."""
        number = self._ledger.new_number()
        expected = Expected(number, cut="may" if cut else "never")
        connection = await Connection.opened(self._port, slow=bool(slow) or cut)
        head = self._head("GET", "honest", f"/{how}/{size}", number)
        try:
            await self._exchange(kind, connection, head, expected, self._content(number, size), slow)
        finally:
            connection.close()

    # ------------------------------------------------------------ well-behaved clients

    async def _get(self) -> None:
        how = self._random.choice(("sized", "sized", "chunked"))
        await self._one("get", how, self._random.choice((0, 1, 100, 5_000, 70_000)))

    async def _get_large(self) -> None:
        how = self._random.choice(("sized", "chunked"))
        await self._one(
            "get large", how, self._random.choice((1, 1, 2, 4, 8, 20)) * MIB + self._random.randrange(PIECE)
        )

    async def _kept_alive(self) -> None:
        connection = await Connection.opened(self._port)
        try:
            for _ in range(self._random.randint(3, 15)):
                number = self._ledger.new_number()
                size = self._random.choice((0, 1, 200, 3_000, 40_000))
                head = self._head("GET", "honest", f"/{self._random.choice(('sized', 'chunked'))}/{size}", number)
                for _ in range(RETRIES):
                    came = await self._exchange(
                        "get kept alive", connection, head, Expected(number), self._content(number, size)
                    )
                    if came != "answered" or connection.is_last:
                        connection.close()
                        connection = await Connection.opened(self._port)
                    if came != "closed":
                        break
                await asyncio.sleep(self._random.random() * PAUSE)
        finally:
            connection.close()

    async def _upload(self) -> None:
        number = self._ledger.new_number()
        size = self._random.choice((0, 10, 3_000, 100_000, MIB, 3 * MIB))
        content = self._content(number, size)
        chunked = self._random.random() < 0.4
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        head = self._head("POST", "honest", f"/upload/{size}", number, framing)
        connection = await Connection.opened(self._port)
        sending = asyncio.create_task(self._send_content(connection, content, chunked))
        try:
            # The head goes first: the task runs only when this one waits.
            await self._exchange("upload", connection, head, Expected(number), content)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            connection.close()

    async def _send_content(self, connection: Connection, content: Content, chunked: bool) -> None:
        # A turn of the loop after the head.
        await asyncio.sleep(0)
        for piece in content.pieces():
            await connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            await connection.send(b"0\r\n\r\n")

    async def _pipelined(self) -> None:
        """Several requests at once. What was not answered when the proxy closes is asked for again."""
        left = [
            (self._ledger.new_number(), self._random.choice((0, 50, 9_000))) for _ in range(self._random.randint(2, 6))
        ]
        for _ in range(RETRIES):
            connection = await Connection.opened(self._port)
            began = connection.resting_since
            try:
                for number, _ in left:
                    self._ledger.sent(number)
                heads = [self._head("GET", "honest", f"/sized/{size}", number) for number, size in left]
                await connection.send(b"".join(heads))
                while left:
                    number, size = left[0]
                    expected = Expected(number)
                    async with asyncio.timeout(PATIENCE):
                        answer = await self._answer(connection, expected, self._content(number, size))
                    self._judge("pipelined", connection, expected, answer, began)
                    del left[0]
            except Cut as error:
                failure = Failure(connection.port, began, time.monotonic(), str(error))
                again = connection.answered and not error.begun
                self._ledger.count("pipelined", "retried" if again else "failed", failure)
                if not again:
                    return
            except (Malformed, TimeoutError) as error:
                self._judge("pipelined", connection, Expected(left[0][0]), NOTHING, began, repr(error))
                return
            finally:
                connection.close()
            if not left:
                return

    # ------------------------------------------------------------ tunnels

    async def _open_tunnel(self, connection: Connection) -> None:
        """Raises `Cut` and `Malformed`."""
        authority = f"{LOOPBACK}:{self._origins['echo']}"
        self.unnumbered_sent += 1
        await connection.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        head = await connection.head()
        if head.status != 200:
            raise Malformed(f"a tunnel is answered with {head.status}")

    async def _tunnel(self) -> None:
        """Random bytes both ways at once, and then the end, which comes back too."""
        size = self._random.choice((1, 1_000, 60_000, MIB, 4 * MIB))
        content = Content(f"{self._seed} tunnel {self.unnumbered_sent}", size)
        comparison = Comparison(content)
        connection = await Connection.opened(self._port)
        began = connection.resting_since
        sending: asyncio.Task[None] | None = None
        trouble = ""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._open_tunnel(connection)
                sending = asyncio.create_task(self._send_all(connection, content))
                while piece := await connection.read():
                    comparison.feed(piece)
                self.tunnels_answered += 1
                await sending
        except (Cut, Malformed, TimeoutError) as error:
            trouble = repr(error)
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
            connection.close()
        failure = Failure(connection.port, began, time.monotonic(), f"{comparison.received} of {size} bytes {trouble}")
        if not comparison.same or comparison.received > size:
            self._ledger.count("tunnel", "wrong", failure)
        else:
            self._ledger.count("tunnel", "right" if comparison.whole and not trouble else "failed", failure)

    async def _send_all(self, connection: Connection, content: Content) -> None:
        for piece in content.pieces():
            await connection.send(piece)
            if self._random.random() < 0.1:
                await asyncio.sleep(0.01)
        connection.send_end()

    # ------------------------------------------------------------ clients that behave badly

    async def _slow_reader(self) -> None:
        await self._one("slow reader", "sized", self._random.randint(1, 3) * MIB, slow=SLOW_SECONDS)

    async def _stopped_reader(self) -> None:
        """Take nothing for longer than the proxy waits, and then look at what there is."""
        number = self._ledger.new_number()
        size = 20 * MIB
        expected = Expected(number, cut="may")
        connection = await Connection.opened(self._port, slow=True)
        began = connection.resting_since
        try:
            self._ledger.sent(number)
            await connection.send(self._head("GET", "honest", f"/sized/{size}", number))
            await asyncio.sleep(STOPPED_SECONDS)
            async with asyncio.timeout(PATIENCE):
                answer = await self._answer(connection, expected, self._content(number, size))
            self._judge("stopped reader", connection, expected, answer, began)
        except Cut:
            # A reset takes along what had not been read.
            self._ledger.count("stopped reader", "cut")
        finally:
            connection.close()

    async def _vanish(self) -> None:
        """Reset the connection in the middle of something."""
        connection = await Connection.opened(self._port)
        number = self._ledger.new_number()
        large = self._head("GET", "honest", f"/sized/{2 * MIB}", number)
        try:
            match self._random.choice(("head", "request", "download", "upload", "tunnel", "waiting")):
                case "head":
                    self.unnumbered_sent += 1
                    await connection.send(large[: self._random.randrange(1, len(large) - 4)])
                case "request":
                    self._ledger.sent(number)
                    await connection.send(large)
                case "download":
                    self._ledger.sent(number)
                    await connection.send(large)
                    await connection.read()
                case "upload":
                    self._ledger.sent(number)
                    await connection.send(self._head("POST", "honest", "/upload/0", number, f"Content-Length: {MIB}"))
                    await connection.send(bytes(PIECE))
                case "tunnel":
                    await self._open_tunnel(connection)
                    await connection.send(bytes(PIECE * 4))
                    await connection.read()
                case "waiting":
                    self._ledger.sent(number)
                    await connection.send(self._head("GET", "faulty", "/silent/0", number))
            await asyncio.sleep(self._random.choice((0.0, 0.0, 0.05)))
        except (Cut, Malformed):
            pass  # it would have left anyway
        finally:
            connection.reset()
        self._ledger.count("vanished", "left")

    async def _malformed(self) -> None:
        """What cannot be understood is refused, with one answer and nothing after it."""
        request, statuses = self._random.choice(MALFORMED)
        connection = await Connection.opened(self._port)
        began = connection.resting_since
        self.unnumbered_sent += 1
        rest = b""
        said = ""
        answered = False
        try:
            async with asyncio.timeout(PATIENCE):
                await connection.send(request.replace(b"ORIGIN", f"{LOOPBACK}:{self._origins['honest']}".encode()))
                head = await connection.head()
                async for _ in connection.content(head):
                    pass
                answered = True
                said = f"status {head.status}"
                rest = await connection.read()
        except (Cut, Malformed, TimeoutError) as error:
            said += repr(error)
        finally:
            connection.close()
        failure = Failure(connection.port, began, time.monotonic(), f"{request[:60]!r}: {said} {rest[:80]!r}")
        if not answered:
            self._ledger.count("malformed", "failed", failure)
            return
        self.unreadable_answered += 1
        right = head.status in statuses and head.number == -1 and not rest
        self._ledger.count("malformed", "refused" if right else "wrong", failure)

    async def _faulty(self) -> None:
        """An origin that goes wrong."""
        fault: Fault = self._random.choice(FAULTS)
        number = self._ledger.new_number()
        expected = Expected(number, fault.statuses, fault.cut)
        size = self._random.randint(fault.least, 200_000)
        connection = await Connection.opened(self._port)
        head = self._head("GET", fault.origin, f"/{fault.how}/{size}", number)
        try:
            content = self._content(number, size)
            await self._exchange(f"faulty: {fault.name}", connection, head, expected, content)
        finally:
            connection.close()
