"""What is done to messages for privacy's sake: the settings of ``privacy``, compiled once.

Theory of operation. A request is read as it came, and each part enters into one table what the fields it is about are
to be; then the field lines are written anew, once, if there is anything in the table. The exchange does that before the
request is given to whatever carries it, and likewise with the response, so that the versions of HTTP on either side do
not matter. The record of the exchange keeps what came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from twistedproxy.http.message import FieldLine, RequestHead
from twistedproxy.http.target import Target
from twistedproxy.privacy.forwarded import NAMES, Change, forwarded_change
from twistedproxy.privacy.names import Changes, NameRules, rewritten
from twistedproxy.settings.privacy import PrivacySettings
from twistedproxy.settings.privacy_profiles import Choices, choices


class Outgoing(NamedTuple):
    """A request as the server is to see it."""

    head: RequestHead
    target: Target
    discretion: NameRules | None
    """What the client is not to learn of the response to it."""


@dataclass(frozen=True, slots=True, repr=False)
class Privacy:
    """What the settings say. Made with `of`; it never changes."""

    requests: NameRules
    responses: NameRules | None
    forwarded: Change | None
    via: bool
    """Whether Via is used."""

    @classmethod
    def of(cls, settings: PrivacySettings) -> Privacy | None:
        """Compile ``settings``; None where they leave messages as they are."""
        chosen = choices(settings)
        privacy = cls._compiled(chosen, settings)
        return privacy if privacy else None

    @classmethod
    def _compiled(cls, chosen: Choices, settings: PrivacySettings) -> Privacy:
        hidden = () if chosen.via == "pseudonym" else ("Via",)
        return cls(
            requests=NameRules(
                (*chosen.remove_request_fields, *hidden),
                settings.replace_request_fields,
                settings.allow_request_fields,
            ),
            responses=NameRules(
                chosen.remove_response_fields, settings.replace_response_fields, settings.allow_response_fields
            )
            or None,
            forwarded=forwarded_change(chosen.forwarded_for, settings.forwarded_form),
            via=not hidden,
        )

    def __repr__(self) -> str:
        return f"<Privacy requests={self.requests!r} responses={self.responses!r} via={self.via}>"

    def __bool__(self) -> bool:
        return bool(self.requests) or self.responses is not None or self.forwarded is not None or not self.via

    def request(self, head: RequestHead, target: Target, client: str) -> Outgoing:
        """The request ``head`` for ``target`` from the address ``client``, as the server is to see it."""
        fields = head.fields
        options = head.options
        changes: Changes = {}
        self.requests.note(changes, fields)
        if self.forwarded is not None:
            self.forwarded(changes, fields, options, client)
        if changes:
            if not options.isdisjoint(NAMES):
                # What is there now is ours, and not the client's to take out.
                options = options - NAMES.keys()
            head = RequestHead(
                head.method,
                head.target,
                head.minor,
                rewritten(fields, changes, NAMES.items()),
                head.length,
                options,
                head.expects_continue,
                head.version,
            )
        return Outgoing(head, target, self.responses)

    def request_trailers(self, lines: list[FieldLine]) -> list[FieldLine]:
        """The trailer field lines that are left of ``lines``."""
        if self.forwarded is not None:
            lines = [line for line in lines if line[0].lower() not in NAMES]
        return self.requests.trailers(lines)
