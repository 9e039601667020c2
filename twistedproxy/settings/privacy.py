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
RefererUse: TypeAlias = Literal["profile", "pass", "origin", "same-origin", "none"]
Strip: TypeAlias = Literal["profile", "pass", "strip"]
UserAgentUse: TypeAlias = Literal["profile", "pass", "general"]
ClientHints: TypeAlias = Literal["profile", "pass", "low", "none"]
Languages: TypeAlias = Literal["profile", "pass", "first", "language"]
LogAddresses: TypeAlias = Literal["profile", "full", "truncate"]
LogQueries: TypeAlias = Literal["profile", "full", "drop"]
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
    referer: Annotated[
        RefererUse,
        choice(
            "What Referer tells of the page that a request comes from: `origin` gives other origins the page's "
            "scheme, host and port only, and nothing where it was `https` and the target is not (what browsers call "
            "strict-origin-when-cross-origin); `same-origin` gives other origins nothing; `none` gives nobody "
            "anything.",
            get_args(RefererUse),
            examples=["same-origin"],
        ),
    ] = "profile"
    third_party_cookies: Annotated[
        Strip,
        choice(
            "Whether cookies pass in both directions between a client and another site than the one whose page it is "
            "on: `pass`, or `strip`. A site is a registrable domain of the Public Suffix List; which page it is, is "
            "known from Sec-Fetch-Site, Origin or Referer, and where none of them says so the cookies pass.",
            get_args(Strip),
            examples=["strip"],
        ),
    ] = "profile"
    third_party_validators: Annotated[
        Strip,
        choice(
            "Whether ETag and Last-Modified, and what asks by them (If-None-Match, If-Modified-Since), pass with GET "
            "and HEAD to and from third parties: a server can know a client again by them as by a cookie. Without "
            "them what has become stale is fetched anew.",
            get_args(Strip),
            examples=["strip"],
        ),
    ] = "profile"
    tracking_parameters: Annotated[
        Strip,
        choice(
            "Whether parameters by which clicks are tracked (`utm_source`, `fbclid`, `gclid` and others of a list that "
            "comes with the proxy) are taken out of the queries of GET and HEAD. What stays keeps its order and "
            "encoding; a query that is signed is left alone.",
            get_args(Strip),
            examples=["strip"],
        ),
    ] = "profile"
    user_agent: Annotated[
        UserAgentUse,
        choice(
            "What User-Agent tells: `general` leaves the browser's family and major version and the kind of system, "
            "and of other programs the name and major version. X-Requested-With goes too where it names an "
            "application.",
            get_args(UserAgentUse),
            examples=["general"],
        ),
    ] = "profile"
    client_hints: Annotated[
        ClientHints,
        choice(
            "Which client hints pass: `low` those that browsers send unasked (Sec-CH-UA, Sec-CH-UA-Mobile, "
            "Sec-CH-UA-Platform), `none` none. Accept-CH and Critical-CH, by which servers ask for more, are then "
            "taken out of answers.",
            get_args(ClientHints),
            examples=["none"],
        ),
    ] = "profile"
    accept_language: Annotated[
        Languages,
        choice(
            "What Accept-Language tells: `first` the language that is liked best, without the others; `language` that "
            "without its region.",
            get_args(Languages),
            examples=["first"],
        ),
    ] = "profile"
    except_hosts: Annotated[
        tuple[str, ...],
        special(
            "excepted hosts",
            "The servers to and from which messages stay as they are, in the notation of `intercept.hosts`. After a "
            "host and a space, parts can be named, with commas between them, that alone are off for it: `fields`, "
            "`forwarded_for`, `referer`, `third_party_cookies`, `third_party_validators`, `tracking_parameters`, "
            "`user_agent`, `client_hints`, `accept_language`. `via` and the log are the same for all hosts.",
            examples=[[".bank.example", "sso.example.com third_party_cookies,referer"]],
        ),
    ] = ()
    log_addresses: Annotated[
        LogAddresses,
        choice(
            "How the logs name clients: `full` by address and, in the access log and that of WebSockets, port; "
            "`truncate` by the network (24 bits of IPv4, 48 of IPv6) without the port.",
            get_args(LogAddresses),
            examples=["truncate"],
        ),
    ] = "profile"
    log_queries: Annotated[
        LogQueries,
        choice(
            "Whether URLs stand in the access log and that of WebSockets, and Referer in the former, in full (`full`) "
            "or without their queries (`drop`).",
            get_args(LogQueries),
            examples=["drop"],
        ),
    ] = "profile"
