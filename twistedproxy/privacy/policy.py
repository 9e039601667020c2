"""What is done to messages for privacy's sake: the settings of ``privacy``, compiled once.

Theory of operation. A request is read as it came, and each part enters into one table what the fields it is about are
to be; then the field lines are written anew, once, if there is anything in the table. The exchange does that before the
request is given to whatever carries it, and likewise with the response, so that the versions of HTTP on either side do
not matter. The record of the exchange keeps what came.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from twistedproxy.http.message import FieldLine, RequestHead
from twistedproxy.http.target import Target
from twistedproxy.privacy.forwarded import NAMES, Change, forwarded_change
from twistedproxy.privacy.languages import REDUCED
from twistedproxy.privacy.names import Changes, NameRules, rewritten
from twistedproxy.privacy.referer import PASS, trimmed
from twistedproxy.privacy.sites import is_third_party, load_suffixes
from twistedproxy.privacy.tracking import without_tracking
from twistedproxy.privacy.user_agent import general_user_agent, requested_with
from twistedproxy.settings.privacy import PrivacySettings
from twistedproxy.settings.privacy_profiles import ALL_HINTS, ASKING_FOR_HINTS, HINTS_BEYOND_LOW, Choices

_HINTS: Final = {"pass": (), "low": HINTS_BEYOND_LOW, "none": ALL_HINTS}
_READING: Final = frozenset((b"GET", b"HEAD"))
_VALIDATORS: Final = ("ETag", "Last-Modified")
_ASKING_BY_VALIDATORS: Final = (b"if-none-match", b"if-modified-since")


class Outgoing(NamedTuple):
    """A request as the server is to see it."""

    head: RequestHead
    target: Target
    discretion: NameRules | None
    """What the client is not to learn of the response to it."""


@dataclass(frozen=True, slots=True, repr=False)
class Privacy:
    """What is done to messages to and from some host. Made with `of`; it never changes."""

    requests: NameRules
    third_party_requests: NameRules
    responses: NameRules | None
    third_party_responses: NameRules | None
    third_party_read_responses: NameRules | None
    """The same for those to GET and HEAD."""
    forwarded: Change | None
    values: tuple[tuple[bytes, Callable[[bytes], bytes | None]], ...]
    """The fields that get a value made from their own, or none."""
    referer: str
    tracking_parameters: bool
    third_party_cookies: bool
    third_party_validators: bool

    @classmethod
    def of(cls, chosen: Choices, settings: PrivacySettings, fields: bool = True) -> Privacy | None:
        """Compile what is ``chosen``; None where that leaves messages as they are.

        Without ``fields`` the lists of names in ``settings`` do not count.
        """
        hidden = () if chosen.via == "pseudonym" else ("Via",)
        hints = _HINTS[chosen.client_hints]
        gone = (*chosen.remove_request_fields, *hints, *hidden)
        gone_back = (*chosen.remove_response_fields, *(ASKING_FOR_HINTS if hints else ()))
        replaced = settings.replace_request_fields if fields else ()
        allowed = settings.allow_request_fields if fields else ()
        cookies = chosen.third_party_cookies == "strip"
        validators = chosen.third_party_validators == "strip"

        if cookies or validators:
            load_suffixes()

        def responses(*more: str) -> NameRules | None:
            if not fields:
                return NameRules((*gone_back, *more)) or None
            rules = (*gone_back, *more), settings.replace_response_fields, settings.allow_response_fields
            return NameRules(*rules) or None

        set_cookie = ("Set-Cookie",) if cookies else ()
        values: list[tuple[bytes, Callable[[bytes], bytes | None]]] = []
        if chosen.user_agent == "general":
            values += ((b"user-agent", general_user_agent), (b"x-requested-with", requested_with))
        if chosen.accept_language in REDUCED:
            values.append((b"accept-language", REDUCED[chosen.accept_language]))
        privacy = cls(
            requests=NameRules(gone, replaced, allowed),
            third_party_requests=NameRules((*gone, *(("Cookie",) if cookies else ())), replaced, allowed),
            responses=responses(),
            third_party_responses=responses(*set_cookie),
            third_party_read_responses=responses(*set_cookie, *(_VALIDATORS if validators else ())),
            forwarded=forwarded_change(chosen.forwarded_for, settings.forwarded_form),
            values=tuple(values),
            referer=chosen.referer,
            tracking_parameters=chosen.tracking_parameters == "strip",
            third_party_cookies=cookies,
            third_party_validators=validators,
        )
        return privacy if privacy else None

    def __repr__(self) -> str:
        return f"<Privacy requests={self.requests!r} responses={self.responses!r} referer={self.referer}>"

    def __bool__(self) -> bool:
        return bool(
            self.requests
            or self.responses
            or self.forwarded
            or self.values
            or self.referer != PASS
            or self.tracking_parameters
            or self.third_party_cookies
            or self.third_party_validators
        )

    def request(self, head: RequestHead, target: Target, client: str) -> Outgoing:
        """The request ``head`` for ``target`` from the address ``client``, as the server is to see it."""
        fields = head.fields
        index = fields.index
        options = head.options
        reads = head.method in _READING
        changes: Changes = {}
        discretion = self.responses
        if (self.third_party_cookies or self.third_party_validators) and is_third_party(head, target):
            self.third_party_requests.note(changes, fields)
            discretion = self.third_party_read_responses if reads else self.third_party_responses
            if reads and self.third_party_validators:
                changes.update((name, None) for name in _ASKING_BY_VALIDATORS if name in index)
        else:
            self.requests.note(changes, fields)
        if self.forwarded is not None:
            self.forwarded(changes, fields, options, client)
        for name, reduced in self.values:
            if name in index and name not in changes:
                value = index[name]
                if isinstance(value, tuple):
                    value = b", ".join(value)
                less = reduced(value)
                if less != value:
                    changes[name] = less
        if self.referer != PASS and b"referer" in index and b"referer" not in changes:
            came = fields.first(b"referer")
            left = trimmed(came, target, self.referer, self.tracking_parameters)
            if left != came:
                changes[b"referer"] = left
        if self.tracking_parameters and reads and b"?" in target.path:
            path = without_tracking(target.path, target.host)
            if path != target.path:
                target = replace(target, path=path)
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
        return Outgoing(head, target, discretion)

    def request_trailers(self, lines: list[FieldLine]) -> list[FieldLine]:
        """The trailer field lines that are left of ``lines``."""
        if self.forwarded is not None:
            lines = [line for line in lines if line[0].lower() not in NAMES]
        return self.requests.trailers(lines)
