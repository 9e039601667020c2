"""What the API asks of the daemon, done: `twistedproxy.control.steering.Steered`, on the service."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from twistedproxy import __version__
from twistedproxy.access.blocklists.names import listed_name
from twistedproxy.access.limits.calendar import Calendar
from twistedproxy.access.limits.limits import Limit, Limits
from twistedproxy.blocklists.files import BlocklistError
from twistedproxy.control.steering import CannotBeDone
from twistedproxy.control.types import (
    Candidate,
    CertificateAuthority,
    CertificateFormat,
    Change,
    Connections,
    Explanation,
    Finding,
    Inquiry,
    Level,
    LimitInForce,
    Setting,
    SettingsInForce,
    State,
    Status,
    Verdict,
    WhatIsBlocked,
    WhatIsLimited,
    WhatWasLearned,
    Worker,
)
from twistedproxy.errors import ProxyError
from twistedproxy.explaining import Explainer
from twistedproxy.http.target import parse_target
from twistedproxy.limits.quota_file import Damaged
from twistedproxy.limits.state import MOST_STATES, ShareState
from twistedproxy.listeners import address_text
from twistedproxy.record.statistics import Statistics
from twistedproxy.replacing import replace_content
from twistedproxy.settings.describe import warnings
from twistedproxy.settings.keys import keys
from twistedproxy.settings.load import Loaded
from twistedproxy.settings.problems import SettingsError
from twistedproxy.settings.types import Settings
from twistedproxy.tls.authority import Authority, AuthorityError, utc

if TYPE_CHECKING:
    from twistedproxy.service import ProxyService


T = TypeVar("T")


class Steering:
    """The service, as the API sees it."""

    def __init__(self, service: ProxyService) -> None:
        self._service = service

    def __repr__(self) -> str:
        return f"<Steering of {self._service!r}>"

    @property
    def state(self) -> State:
        return self._service.state

    @property
    def log_level(self) -> Level:
        return self._service.level

    def status(self) -> Deferred[Status]:
        return self._service.workforce.numbers().addCallback(self._status)

    def _status(self, numbers: tuple[list[Worker], Statistics]) -> Status:
        service = self._service
        return Status(
            version=__version__,
            pid=os.getpid(),
            state=service.state,
            started=service.started,
            uptime=time.monotonic() - service.started_monotonic,
            generation=service.generation,
            settings_file=service.loaded.files[0] if service.loaded.files else "",
            log_level=self.log_level,
            listeners=[address_text(address) for address in service.addresses()],
            reloads=service.reloads,
            reloads_failed=service.reloads_failed,
            workers=numbers[0],
            statistics=numbers[1],
            blocklists=service.lists.states(),
            name_servers=list(service.loaded.settings.resolver.servers),
        )

    def connections(self, limit: int, client: str, state: str) -> Deferred[Connections]:
        listing = self._service.workforce.connections(limit, client, state)
        return listing.addCallback(lambda found: Connections(found.total, found.connections))

    def close_connection(self, id: str) -> Deferred[bool]:
        worker, dash, number = id.partition("-")
        if not (dash and worker.isdecimal() and number.isdecimal() and len(id) < 32):
            return succeed(False)
        return self._service.workforce.close_connection(int(worker), int(number))

    def settings(self) -> SettingsInForce:
        loaded = self._service.loaded
        return SettingsInForce(
            generation=self._service.generation,
            file=loaded.files[0] if loaded.files else "",
            settings=[Setting(path, _plain(_value(loaded.settings, path)), loaded.sources[path]) for path in keys()],
        )

    def judge(self, candidate: Candidate) -> Verdict:
        try:
            loaded = self._service.load(candidate.toml)
        except SettingsError as error:
            return Verdict(False, str(error).splitlines(), [], [])
        return Verdict(True, [], self._changes(loaded), list(warnings(loaded.settings, loaded.ignored)))

    def _changes(self, loaded: Loaded) -> list[Change]:
        running = self._service.loaded.settings
        return [
            Change(path, key.kind.spell(old), key.kind.spell(new), loaded.sources[path])
            for path, key in keys().items()
            if (old := _value(running, path)) != (new := _value(loaded.settings, path))
        ]

    def apply(self, candidate: Candidate) -> Deferred[Verdict]:
        verdict = self.judge(candidate)
        if not verdict.valid:
            return succeed(verdict)
        text = candidate.toml
        if text is None or not candidate.persist:
            return self._service.change(lambda: self._service.load(text)).addCallback(lambda _: verdict)
        kept = KeptFile(self._service.surroundings.settings_file)

        def keep_and_load() -> Loaded:
            try:
                kept.replace(text)
            except OSError as error:
                raise CannotBeDone(f"the settings file cannot be written: {error}") from error
            return self._service.load(None)

        return self._service.change(keep_and_load, kept.restore).addCallback(lambda _: verdict)

    def reload(self) -> Deferred[None]:
        return self._service.reload()

    def drain(self, timeout: float | None) -> None:
        self._service.begin_to_stop(timeout)

    def upgrade(self) -> Deferred[int]:
        return self._service.upgrade()

    def set_log_level(self, level: Level) -> Deferred[None]:
        self._service.set_level(level)
        return succeed(None)

    def learned(self, host: str, forget: bool) -> Deferred[WhatWasLearned]:
        return self._service.workforce.learned(host, forget).addCallback(WhatWasLearned)

    def explain(self, inquiry: Inquiry) -> Deferred[Explanation]:
        service = self._service
        explainer = Explainer(service.reactor, service.loaded, service.addresses(), service.lists.opened())

        async def told() -> Explanation:
            try:
                learned = await service.workforce.learned("", False)
                shares = await service.workforce.limit_states("", MOST_STATES)
                return await explainer.explain(inquiry, learned, shares)
            finally:
                explainer.close()

        return Deferred.fromCoroutine(told())

    def blocklists(self) -> WhatIsBlocked:
        return WhatIsBlocked(self._service.lists.states())

    def refresh_lists(self, name: str, force: bool) -> Deferred[list[str]]:
        return self._service.lists.refresh(name, force).addCallbacks(self._in_effect, _list_not_usable)

    def edit_list(self, host: str, *, allow: bool, there: bool) -> Deferred[bool]:
        edited = self._service.lists.edit(host, allow=allow, there=there)
        return edited.addCallbacks(self._in_effect, _list_not_usable)

    def _in_effect(self, done: T) -> Deferred[T]:
        """Fires with ``done`` when the workers go by the lists: whoever reads that may try it at once."""
        return self._service.lists_told().addCallback(lambda _: done)

    def test_lists(self, target: str) -> Finding:
        try:
            if "://" in target:
                read = parse_target(b"GET", target.encode("ascii"))
                found = self._service.lists.test(read.host, read.scheme, read.port, read.path)
            else:
                host = listed_name(target.encode("utf-8"))
                if host is None:
                    raise CannotBeDone("it is neither a host nor a URL")
                found = self._service.lists.test(host.decode("ascii"), "", 0, b"")
        except (ProxyError, UnicodeError) as error:
            raise CannotBeDone(getattr(error, "detail", "") or "a URL is in ASCII") from error
        if found is None:
            return Finding(target, False)
        return Finding(target, found.blocks, found.list, found.category, found.rule)

    def limits(self, most: int, name: str) -> Deferred[WhatIsLimited]:
        workforce = self._service.workforce

        def told(shares: list[ShareState]) -> Deferred[WhatIsLimited]:
            return workforce.numbers().addCallback(lambda numbers: self._limits(shares, numbers[1], name))

        return workforce.limit_states(name, most).addCallback(told)

    def _limits(self, shares: list[ShareState], statistics: Statistics, name: str) -> WhatIsLimited:
        limits = Limits.of(self._service.loaded.settings.limits)
        calendar = Calendar(self._service.loaded.settings.limits.zone)
        if limits is not None:
            calendar.turn(time.time())
        chosen = [one for one in (limits.all.values() if limits else ()) if name in ("", one.name)]
        told = [_limit_in_force(one, statistics) for one in chosen]
        return WhatIsLimited(told, shares, calendar.day_ends, calendar.month_ends)

    def refill(self, name: str, key: str) -> Deferred[None]:
        if name not in {one.name for one in self._service.loaded.settings.limits.tables}:
            return fail(CannotBeDone(f"there is no limit {name}"))
        return self._service.workforce.refill(name, key).addCallbacks(lambda _: None, _not_kept)

    def certificate_authority(self) -> Deferred[CertificateAuthority]:
        return self._service.custody.authority().addCallbacks(self._described, _not_usable)

    def authority_certificate(self, format: CertificateFormat) -> Deferred[bytes]:
        authority = self._service.custody.authority()
        return authority.addCallbacks(lambda found: found.export(format), _not_usable)

    def renew_authority(self) -> Deferred[CertificateAuthority]:
        return self._service.custody.renew().addCallbacks(self._described, _not_usable)

    def _described(self, authority: Authority) -> CertificateAuthority:
        return CertificateAuthority(
            origin=authority.origin,
            subject=authority.subject,
            fingerprint=authority.fingerprint,
            not_before=authority.certificate.not_valid_before_utc.timestamp(),
            not_after=authority.ends.timestamp(),
            days_left=authority.days_left(utc(time.time())),
            files=self._service.custody.files(),
        )


class KeptFile:
    """The file at ``path``, whose text can be replaced and had back."""

    def __init__(self, path: str) -> None:
        # What is behind a link is replaced, and the link stays.
        self._path = os.path.realpath(path)
        self._replaced = False
        self._before: bytes | None = None

    def __repr__(self) -> str:
        return f"<KeptFile {self._path}{' replaced' * self._replaced}>"

    def replace(self, text: str) -> None:
        """Put ``text`` there in one step, with the owner and mode that the file has. Raises `OSError`."""
        before: bytes | None = None
        with suppress(FileNotFoundError), open(self._path, "rb") as file:
            before = file.read()
        _put(self._path, text.encode())
        self._before = before
        self._replaced = True

    def restore(self) -> None:
        """Let it be as it was, where it has been replaced. Raises `OSError`."""
        if not self._replaced:
            return
        self._replaced = False
        if self._before is None:
            os.unlink(self._path)
        else:
            _put(self._path, self._before)


def _put(path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    replace_content(Path(path), content, lambda file: _resemble(file, path), prefix=".pyproxy-")


def _resemble(descriptor: int, path: str) -> None:
    """Give the file ``descriptor`` the owner and mode of the one at ``path``, or those of a file that anybody reads."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        os.fchmod(descriptor, 0o644)
        return
    with suppress(PermissionError):
        os.fchown(descriptor, there.st_uid, there.st_gid)
    os.fchmod(descriptor, there.st_mode & 0o7777)


def _limit_in_force(limit: Limit, statistics: Statistics) -> LimitInForce:
    requests = limit.requests
    return LimitInForce(
        name=limit.name,
        per=limit.per,
        everybody=limit.everybody,
        when_over="slow" if limit.slows else "refuse",
        requests_per_second=requests.per_second if requests else 0.0,
        burst=requests.burst if requests else 0.0,
        connections=limit.connections,
        tunnels=limit.tunnels,
        download=int(limit.download.per_second) if limit.download else 0,
        upload=int(limit.upload.per_second) if limit.upload else 0,
        daily=limit.daily,
        monthly=limit.monthly,
        refusals=statistics.limit_refusals.get(limit.name, 0),
        slowings=statistics.limit_slowings.get(limit.name, 0),
    )


def _not_kept(failure: Failure) -> NoReturn:
    failure.trap(OSError, Damaged)
    raise CannotBeDone(f"the quotas on the disk are as they were: {failure.value}") from failure.value


def _not_usable(failure: Failure) -> NoReturn:
    failure.trap(AuthorityError)
    raise CannotBeDone(str(failure.value)) from failure.value


def _list_not_usable(failure: Failure) -> NoReturn:
    failure.trap(BlocklistError)
    raise CannotBeDone(str(failure.value)) from failure.value


def _value(settings: Settings, path: str) -> Any:
    table, _, name = path.partition(".")
    return getattr(getattr(settings, table), name)


def _plain(value: Any) -> Any:
    plain = msgspec.to_builtins(value)
    return list(plain) if isinstance(plain, tuple) else plain
