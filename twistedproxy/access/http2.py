"""With whom HTTP/2 is spoken: the settings of ``http2``, compiled once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from twistedproxy.access.hosts import HostSet


class HTTP2Settings(Protocol):
    """The settings that the decision is made of."""

    @property
    def with_clients(self) -> bool:
        """Whether it is spoken with clients at all."""

    @property
    def with_servers(self) -> str:
        """Where it is spoken with servers: ``mirror``, ``always`` or ``never``."""

    @property
    def except_hosts(self) -> Sequence[str]:
        """The hosts for which it is spoken on neither side."""

    @property
    def except_listeners(self) -> Sequence[str]:
        """The listeners at which it is not spoken."""


@dataclass(frozen=True, slots=True, repr=False)
class HTTP2Use:
    """What the settings allow. Made with `of`; it never changes."""

    with_clients: bool
    with_servers: bool
    mirrors: bool
    """Whether it is spoken with servers only where it is with the client, or nothing else can be."""
    except_hosts: HostSet
    except_listeners: frozenset[str]

    @classmethod
    def of(cls, settings: HTTP2Settings) -> HTTP2Use:
        """Compile ``settings``."""
        return cls(
            with_clients=settings.with_clients,
            with_servers=settings.with_servers != "never",
            mirrors=settings.with_servers == "mirror",
            except_hosts=HostSet(settings.except_hosts),
            except_listeners=frozenset(settings.except_listeners),
        )

    def __repr__(self) -> str:
        sides = " ".join(side for side in ("with_clients", "with_servers") if getattr(self, side)) or "off"
        return f"<HTTP2Use {sides} except_hosts={self.except_hosts!r} except_listeners={len(self.except_listeners)}>"

    def with_client(self, listener: str, host: str) -> bool:
        """Whether a client that came in at ``listener`` may speak it inside a tunnel to ``host``."""
        return self.with_clients and listener not in self.except_listeners and host not in self.except_hosts

    def with_server(self, host: str) -> bool:
        """Whether it may be spoken with ``host``."""
        return self.with_servers and host not in self.except_hosts
