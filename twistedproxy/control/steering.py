"""What the control plane can ask of the daemon: the one thing that the API knows about the rest of the house."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred

from twistedproxy.control.types import (
    Candidate,
    CertificateAuthority,
    CertificateFormat,
    Connections,
    Explanation,
    Finding,
    Inquiry,
    Level,
    SettingsInForce,
    State,
    Status,
    Verdict,
    WhatIsBlocked,
    WhatIsLimited,
    WhatWasLearned,
)


class CannotBeDone(Exception):
    """A wish cannot be granted in the state that the daemon is in. The text says why; nothing has changed."""


class Steered(Protocol):
    """The daemon, with one worker or many."""

    @property
    def state(self) -> State:
        """What it is doing; it takes new connections while that is ``ready`` or ``reloading``."""
        ...

    @property
    def log_level(self) -> Level:
        """From which level on the operational log is written."""
        ...

    def status(self) -> Deferred[Status]:
        """Everything there is to know at a glance, with numbers read now from each worker that answers."""
        ...

    def connections(self, limit: int, client: str, state: str) -> Deferred[Connections]:
        """The oldest ``limit`` connections, of one client or in one state only when these are not empty."""
        ...

    def close_connection(self, id: str) -> Deferred[bool]:
        """Close one; False when there is none of that ``id``."""
        ...

    def settings(self) -> SettingsInForce:
        """The settings in force."""
        ...

    def judge(self, candidate: Candidate) -> Verdict:
        """What ``candidate`` comes to, beside what is in force."""
        ...

    def apply(self, candidate: Candidate) -> Deferred[Verdict]:
        """Go by ``candidate`` where it is valid. Fails with `CannotBeDone` when it is but cannot be used or kept."""
        ...

    def reload(self) -> Deferred[None]:
        """Read the settings again and go by them. Fails with `CannotBeDone`, whose text has a line a problem."""
        ...

    def drain(self, timeout: float | None) -> None:
        """Begin to stop, and give what is under way ``timeout`` seconds, by default what the settings say."""
        ...

    def upgrade(self) -> Deferred[int]:
        """Start the installed version on the same sockets. The process number of the one that goes on.

        Fails with `CannotBeDone` when it did not become ready; this one then goes on.
        """
        ...

    def set_log_level(self, level: Level) -> Deferred[None]:
        """Write the operational log from ``level`` on, until the next reload."""
        ...

    def learned(self, host: str, forget: bool) -> Deferred[WhatWasLearned]:
        """Who does not take our certificates, for ``host`` unless it is empty; with ``forget`` that is forgotten."""
        ...

    def explain(self, inquiry: Inquiry) -> Deferred[Explanation]:
        """What would become of a request, stage by stage. Fails with `CannotBeDone` when it is none that could come."""
        ...

    def blocklists(self) -> WhatIsBlocked:
        """The lists of what is blocked."""
        ...

    def refresh_lists(self, name: str, force: bool) -> Deferred[list[str]]:
        """Look at the list ``name`` again, or at all when that is empty; the names of those that changed.

        With ``force`` also what has shrunk is used. Fails with `CannotBeDone`, whose text has a line a problem.
        """
        ...

    def edit_list(self, host: str, *, allow: bool, there: bool) -> Deferred[bool]:
        """Let ``host`` be on the operator's own list, or not; whether that is a change. Fails with `CannotBeDone`."""
        ...

    def test_lists(self, target: str) -> Finding:
        """What the lists have on a host or a URL. Raises `CannotBeDone` when it is neither."""
        ...

    def limits(self, most: int, name: str) -> Deferred[WhatIsLimited]:
        """The limits, or the one called ``name``, and the ``most`` who are nearest to them."""
        ...

    def refill(self, name: str, key: str) -> Deferred[None]:
        """Let ``key`` begin anew under a limit, or everybody when it is empty. Fails with `CannotBeDone`."""
        ...

    def certificate_authority(self) -> Deferred[CertificateAuthority]:
        """The authority in use, made now where there is none. Fails with `CannotBeDone` when it cannot be used."""
        ...

    def authority_certificate(self, format: CertificateFormat) -> Deferred[bytes]:
        """Its certificate, without the key. Fails as `certificate_authority` does."""
        ...

    def renew_authority(self) -> Deferred[CertificateAuthority]:
        """Make a new one in the place of the proxy's own. Fails with `CannotBeDone`, also for the operator's."""
        ...
