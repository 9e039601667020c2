"""Keeps the lists: compiled, fresh, and on disk for the next start. The control plane has one, whatever the workers.

Theory of operation. A list in use is an image on disk, which every process that looks things up maps into its memory.
What is new is fetched and compiled beside it, held against what there was, and those who look things up are told then.
Whatever fails on the way leaves things as they were, and is tried again later. The name of an image says what it was
made from, so that a start makes only those anew whose list or settings have changed, and that the lists of settings
that come to nothing do no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from twistedproxy.access.blocklists.lists import Blocklists, Listed
from twistedproxy.access.blocklists.patterns import regexes_available
from twistedproxy.access.blocklists.report import Report
from twistedproxy.blocklists.compiling import Compile, Compiler, Job, compile_now
from twistedproxy.blocklists.fetching import Fetched, Fetcher, FindWay, Wish, direct
from twistedproxy.blocklists.files import DIRECTORY, BlocklistError, ListFiles, ListOrders, Opened
from twistedproxy.blocklists.kept import KeptList
from twistedproxy.blocklists.own import LOCAL, LOCAL_ALLOW, edit, own_lists
from twistedproxy.blocklists.state import ListState
from twistedproxy.settings.blocklist_tables import OWN, is_url
from twistedproxy.settings.types import Settings

Fetch = Callable[[Wish, Path, Settings], Deferred[Fetched]]


class Prepared(msgspec.Struct):
    """The lists that settings name, ready to be gone by."""

    settings: Settings
    lists: dict[str, KeptList]


class Keeper:
    """See the head of the module. Its files are below ``state``; ``seconds`` counts from 1970.

    ``compile`` and ``fetch`` do the work.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        state: Path,
        compile: Compile,
        fetch: Fetch,
        seconds: Callable[[], float] = time.time,
    ) -> None:
        self._reactor = reactor
        self._files = ListFiles(state / DIRECTORY)
        self._compile = compile
        self._fetch = fetch
        self._seconds = seconds
        self._settings = Settings()
        self._lists: dict[str, KeptList] = {}
        self._opened = Opened()
        self._working = DeferredLock()
        self._changed: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return f"<Keeper of {len(self._lists)} lists in {self._files.directory}>"

    @classmethod
    def of(cls, reactor: Any, state: str | Path, environment: Mapping[str, str], find_way: FindWay = direct) -> Keeper:
        """One that compiles in processes, which get the variables ``environment``, and fetches over the network."""
        return cls(reactor, Path(state), Compiler(reactor, environment), Fetcher(reactor, environment, find_way))

    # ------------------------------------------------------------ settings

    def check(self, settings: Settings) -> None:
        """Raise `BlocklistError` when a list cannot be what ``settings`` say, before anything has begun."""
        for one in settings.blocklists.lists:
            if one.format == "regexes" and not regexes_available():
                raise BlocklistError(f"the list {one.name}: regular expressions need the package google-re2")
            if not is_url(one.source):
                try:
                    with open(one.source, "rb"):
                        pass
                except OSError as error:
                    raise BlocklistError(f"the list {one.name}: {one.source}: {error.strerror or error}") from error

    def begin(self, settings: Settings, changed: Callable[[], object]) -> None:
        """Go by ``settings``, with what is on disk, while the reactor does not run yet; and refresh on schedule then.

        ``changed`` is called when a list is another.
        """
        self._changed = changed
        self._files.clear()
        prepared = self._found(settings)
        for kept in prepared.lists.values():
            if kept.can_be_made:
                try:
                    job = kept.job(kept.path, settings.blocklists.max_size)
                    self._take(kept, job, compile_now(job))
                except (BlocklistError, OSError) as error:
                    self._has_failed(kept, error)
        self.use(prepared)

    def prepare(self, settings: Settings) -> Deferred[Prepared]:
        """Make the lists that ``settings`` name ready. Fails with `BlocklistError` for a file that cannot be used."""
        return Deferred.fromCoroutine(self._prepare(settings))

    async def _prepare(self, settings: Settings) -> Prepared:
        self.check(settings)
        prepared = self._found(settings)
        for kept in prepared.lists.values():
            if kept.can_be_made:
                try:
                    job = kept.job(kept.path, settings.blocklists.max_size)
                    self._take(kept, job, await self._compile(job))
                except (BlocklistError, OSError) as error:
                    raise BlocklistError(f"the list {kept.name}: {error}") from error
        return prepared

    def use(self, prepared: Prepared) -> None:
        """Go by what has been prepared, from now on."""
        for kept in self._lists.values():
            kept.cancel()
        before = [kept.image for kept in self._lists.values()]
        self._settings = prepared.settings
        self._lists = prepared.lists
        with suppress(OSError):
            # Workers that start in this moment may have been told of the old ones.
            self._files.forget((*self._lists, *OWN), [*before, *(kept.image for kept in self._lists.values())])
        for kept in self._lists.values():
            self._schedule(kept)

    def orders(self, prepared: Prepared | None = None) -> ListOrders:
        """What workers are told: of what has been prepared, or of what is in use."""
        lists = self._lists if prepared is None else prepared.lists
        ready = tuple(kept.order() for kept in lists.values() if kept.image)
        return ListOrders(self._files.prime(), ready) if ready else ListOrders()

    def _found(self, settings: Settings) -> Prepared:
        """The lists of ``settings``, with what is on disk and has been made from the same."""
        wanted = [*settings.blocklists.lists, *own_lists(self._files)]
        return Prepared(settings, {one.name: KeptList(one, self._files) for one in wanted})

    def _take(self, kept: KeptList, job: Job, report: Report) -> None:
        kept.take(job, report, self._seconds())
        self._log.info(
            "the list {name} has {names} names and {rules} rules; {bad} of {lines} lines could not be understood",
            name=kept.name,
            names=report.names,
            rules=report.rules,
            bad=report.bad,
            lines=report.lines,
        )

    def _has_failed(self, kept: KeptList, error: Exception) -> None:
        kept.has_failed(error)
        self._log.error(
            "the list {name} could not be refreshed: {error}; {rest}",
            name=kept.name,
            error=error,
            rest="the last good copy stays in use" if kept.image else "there is no copy of it yet",
        )

    # ------------------------------------------------------------ refreshing

    def stop(self) -> None:
        """Refresh no more."""
        self._changed = None
        for kept in self._lists.values():
            kept.cancel()
        self._compile.stop()
        self._opened = Opened()

    def _schedule(self, kept: KeptList) -> None:
        kept.cancel()
        if self._changed is not None and self._is_current(kept) and kept.name not in OWN:
            due = kept.due(self._settings.blocklists, self._seconds())
            kept.call = self._reactor.callLater(due, self._due, kept)

    def _is_current(self, kept: KeptList) -> bool:
        return self._lists.get(kept.name) is kept

    def _due(self, kept: KeptList) -> None:
        kept.call = None
        refreshed = self._refresh_in_turn(kept, False)
        # It has been logged.
        refreshed.addErrback(lambda failure: failure.trap(BlocklistError))

    def refresh(self, name: str, force: bool) -> Deferred[list[str]]:
        """Look at the list ``name``, or at all of them when that is empty, now; fires with those that changed.

        With ``force`` nothing is asked conditionally, and a list may have shrunk. Fails with `BlocklistError`.
        """
        return Deferred.fromCoroutine(self._refresh(name, force))

    async def _refresh(self, name: str, force: bool) -> list[str]:
        if name and name not in self._lists:
            raise BlocklistError(f"there is no list {name}")
        changed: list[str] = []
        wrong: list[str] = []
        for kept in [self._lists[name]] if name else list(self._lists.values()):
            try:
                if await self._refresh_in_turn(kept, force):
                    changed.append(kept.name)
            except BlocklistError as error:
                wrong.append(f"the list {kept.name}: {error}")
        if wrong:
            raise BlocklistError("\n".join(wrong))
        return changed

    def _refresh_in_turn(self, kept: KeptList, force: bool) -> Deferred[bool]:
        return self._working.run(lambda: Deferred.fromCoroutine(self._refresh_one(kept, force)))

    async def _refresh_one(self, kept: KeptList, force: bool) -> bool:
        if not self._is_current(kept):
            # Other settings have come meanwhile.
            return False
        try:
            changed = await (self._refetch(kept, force) if kept.fetched else self._reread(kept, force))
        except (BlocklistError, OSError) as error:
            self._has_failed(kept, error)
            raise error if isinstance(error, BlocklistError) else BlocklistError(str(error)) from error
        except Exception:
            self._log.failure("the list {name} could not be refreshed", name=kept.name)
            kept.has_failed(BlocklistError("the proxy is at fault; its log says how"))
            raise BlocklistError(kept.facts.error) from None
        finally:
            self._schedule(kept)
        if not changed or not self._is_current(kept):
            return False
        if self._changed is not None:
            self._changed()
        return True

    async def _reread(self, kept: KeptList, force: bool) -> bool:
        if not force and not kept.outdated:
            kept.is_fresh(self._seconds())
            return False
        job = kept.job(kept.path, self._settings.blocklists.max_size)
        self._replace(kept, job, await self._compile(job))
        return True

    async def _refetch(self, kept: KeptList, force: bool) -> bool:
        settings, facts = self._settings.blocklists, kept.facts
        copy = kept.path
        came = self._files.beside(copy)
        conditional = not force and bool(kept.image) and copy.exists()
        wish = Wish(
            kept.settings.source,
            settings.timeout,
            settings.max_size,
            facts.etag if conditional else "",
            facts.last_modified if conditional else "",
        )
        fetched = await self._fetch(wish, came, self._settings)
        if not fetched.is_new:
            kept.is_fresh(self._seconds())
            return False
        try:
            job = kept.job(came, settings.max_size)
            report = await self._compile(job)
            try:
                kept.verify(report, settings, force)
            except BlocklistError:
                Path(job.image).unlink(missing_ok=True)
                raise
            if self._is_current(kept):
                came.replace(copy)
        finally:
            came.unlink(missing_ok=True)
        facts.etag, facts.last_modified = fetched.etag, fetched.last_modified
        self._replace(kept, job, report)
        return True

    def _replace(self, kept: KeptList, job: Job, report: Report) -> None:
        if not self._is_current(kept):
            Path(job.image).unlink(missing_ok=True)
            return
        before = kept.image
        self._take(kept, job, report)
        if before and before != kept.image:
            with suppress(OSError):
                self._files.forget((*self._lists, *OWN), [before, *(other.image for other in self._lists.values())])

    # ------------------------------------------------------------ the operator's own lists

    def edit(self, host: str, *, allow: bool, there: bool) -> Deferred[bool]:
        """Let ``host`` be on the list of what is blocked, or allowed, or not any more; whether that is a change.

        Fails with `BlocklistError`.
        """
        name = LOCAL_ALLOW if allow else LOCAL
        return self._working.run(lambda: Deferred.fromCoroutine(self._edit(name, host, there)))

    async def _edit(self, name: str, host: str, there: bool) -> bool:
        if not edit(self._files, name, host, there):
            return False
        kept = self._lists.get(name)
        if kept is None:
            settings = next(one for one in own_lists(self._files) if one.name == name)
            kept = self._lists[name] = KeptList(settings, self._files)
        try:
            await self._reread(kept, True)
        except OSError as error:
            raise BlocklistError(f"{error.filename}: {error.strerror or error}") from error
        if self._changed is not None:
            self._changed()
        return True

    # ------------------------------------------------------------ what it tells

    def opened(self) -> Blocklists | None:
        """The lists in use, opened here."""
        return self._opened.lists(self.orders())

    def test(self, host: str, scheme: str, port: int, path: bytes) -> Listed | None:
        """What the lists that are for everybody have on a host, or on a URL where there is a ``scheme``."""
        lists = self.opened()
        everybodys = lists.everybodys() if lists is not None else None
        return everybodys.judge(host, scheme, port, path) if everybodys is not None else None

    def states(self) -> list[ListState]:
        """All lists, in their order."""
        return [kept.state(self._next(kept)) for kept in self._lists.values()]

    def _next(self, kept: KeptList) -> float:
        call = kept.call
        return self._seconds() + call.getTime() - self._reactor.seconds() if call is not None else 0.0
