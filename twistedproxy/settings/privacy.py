"""The settings of what messages give away; `types` puts them together with the others."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias, get_args

import msgspec

from twistedproxy.settings.kinds import choice, special

AS_PROFILE: Final = "profile"
"""The word for what the profile says."""

Profile: TypeAlias = Literal["off", "standard", "strict"]
ViaUse: TypeAlias = Literal["profile", "pseudonym", "none"]
ForwardedFor: TypeAlias = Literal["profile", "transparent", "on", "off", "truncate", "delete"]
ForwardedForm: TypeAlias = Literal["x-forwarded-for", "forwarded", "both"]


class PrivacySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What messages give away of the clients, and what the proxy keeps from servers, clients and its own log."""

    profile: Annotated[
        Profile,
        choice(
            "What is done where the other keys say `profile`: nothing (`off`), what sites do not miss (`standard`), or "
            "all that can be done without breaking HTTP (`strict`). `docs/privacy.md` has each of them field by field. "
            "Only what the proxy can read is changed: plain HTTP, and HTTPS in tunnels that `intercept` opens.",
            get_args(Profile),
            examples=["standard"],
        ),
    ] = "off"
    via: Annotated[
        ViaUse,
        choice(
            "Whether messages carry the proxy's name in Via: `pseudonym`, the one of `forwarding.via`; or `none`: it "
            "is not added on either side, and Via fields that clients send are taken out. Without it a loop through "
            "other proxies is not noticed; the proxy's own listeners are refused all the same.",
            get_args(ViaUse),
            examples=["none"],
        ),
    ] = "profile"
    forwarded_for: Annotated[
        ForwardedFor,
        choice(
            "What X-Forwarded-For and Forwarded (RFC 7239) tell servers of the client's address, in Squid's words: "
            "`transparent` passes what the client sent; `on` appends the client's address to that; `off` appends that "
            "there is one, but not which (`unknown`, and an identifier that is new for each request); `truncate` puts "
            "the client's network (24 bits of IPv4, 48 of IPv6) in the place of whatever came; `delete` takes out "
            "whatever came.",
            get_args(ForwardedFor),
            examples=["delete"],
        ),
    ] = "profile"
    forwarded_form: Annotated[
        ForwardedForm,
        choice(
            "Which fields tell that, where one does. The other one is treated as the client's own: `on` and `off` "
            "pass it, `truncate` takes it out.",
            get_args(ForwardedForm),
            examples=["both"],
        ),
    ] = "x-forwarded-for"
    remove_request_fields: Annotated[
        tuple[str, ...],
        special(
            "field names",
            "Fields that are taken out of requests, besides those of the profile: names, or globs in which `*` stands "
            "for any characters and `?` for one. Fields that framing, routing or the content depends on stay, whatever "
            "a glob says.",
            examples=[["X-Device-Id", "X-Corp-*"]],
        ),
    ] = ()
    replace_request_fields: Annotated[
        tuple[str, ...],
        special(
            "field lines",
            "Fields of requests that get another value where they are present, each as name, colon and value. It goes "
            "before what the profile would do to them.",
            examples=[["User-Agent: browser"]],
        ),
    ] = ()
    allow_request_fields: Annotated[
        tuple[str, ...],
        special(
            "field names",
            "The only fields that requests may have, besides those that framing, routing or the content depends on: "
            "names or globs. Empty allows all. `*` in another list is no way to say this.",
            examples=[["Accept*", "Authorization", "Cookie", "If-*", "Origin", "Range", "Referer", "User-Agent"]],
        ),
    ] = ()
    remove_response_fields: Annotated[
        tuple[str, ...],
        special(
            "field names",
            "Fields that are taken out of answers, as `remove_request_fields`.",
            examples=[["Server", "X-Powered-By"]],
        ),
    ] = ()
    replace_response_fields: Annotated[
        tuple[str, ...],
        special(
            "field lines",
            "Fields of answers that get another value where they are present.",
            examples=[["Server: server"]],
        ),
    ] = ()
    allow_response_fields: Annotated[
        tuple[str, ...],
        special(
            "field names",
            "The only fields that answers may have, as `allow_request_fields`.",
            examples=[["Accept-Ranges", "Cache-Control", "Content-*", "Date", "ETag", "Location", "Set-Cookie"]],
        ),
    ] = ()
