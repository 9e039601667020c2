"""The settings of TLS with servers: who vouches for them, and what they are shown; `types` puts them together."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

import msgspec

from twistedproxy.settings.kinds import choice, count, flag, special

TLSVersion: TypeAlias = Literal["1.2", "1.3"]


class UpstreamHost(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Servers that are treated in their own way."""

    names: tuple[str, ...]
    verify: bool = True
    pins: tuple[str, ...] = ()
    anchors: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""


class UpstreamTLSSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the proxy makes sure of the servers that it connects to with TLS."""

    system_anchors: Annotated[
        bool,
        flag(
            "Whether the authorities that the system trusts are trusted: those in the files that the variables "
            "`SSL_CERT_FILE` and `SSL_CERT_DIR` name, or else the system's own. When false, only `anchors` are."
        ),
    ] = True
    anchors: Annotated[
        tuple[str, ...],
        special(
            "file paths",
            "Files with further authorities to trust, for all hosts: PEM, one certificate or more in each. Those "
            "that are signed with their own key are trusted; others only lead up to such. "
            "`$CREDENTIALS_DIRECTORY/` may stand at the beginning. They are read at the start and at a reload.",
            examples=[["/etc/twistedproxy/internal-ca.pem"]],
        ),
    ] = ()
    strict: Annotated[
        bool,
        flag(
            "Whether certificates must have the form that RFC 5280 asks for (`certificate_malformed` where they do "
            "not), as those of public sites do. Authorities that somebody made by hand often lack a key identifier or "
            "a key usage; when false, that does not matter, and everything else is checked as ever."
        ),
    ] = True
    max_intermediates: Annotated[
        int,
        count(
            "How many authorities may stand between a server's certificate and one that is trusted.",
            least=0,
            most=32,
            examples=[3],
        ),
    ] = 8
    min_version: Annotated[
        TLSVersion,
        choice("The lowest version of TLS that is spoken with servers.", get_args(TLSVersion), examples=["1.3"]),
    ] = "1.2"
    max_version: Annotated[
        TLSVersion,
        choice("The highest version of TLS that is spoken with servers.", get_args(TLSVersion), examples=["1.2"]),
    ] = "1.3"
    session_cache: Annotated[
        int,
        count(
            "For how many origins each worker keeps a TLS session, so that the next connection needs no whole "
            "handshake. 0 keeps none.",
            least=0,
            most=100_000,
            examples=[10_000],
        ),
    ] = 1000
    hosts: Annotated[
        tuple[UpstreamHost, ...],
        special(
            "upstream hosts",
            "Servers that are treated in their own way: a table `[[upstream_tls.hosts]]` for each, of which the first "
            "counts that fits. `names` are its hosts, in the notation of `intercept.hosts`. `pins` are SHA-256 digests "
            "of public keys (`sha256/` and base64), of which one has to be in the verified chain "
            "(`certificate_pin_mismatch`). `anchors` are files with further authorities, trusted for these hosts only. "
            "`certificate` and `key` are files with the certificate (and those above it) that is shown to these "
            "servers and its private key, which must not be readable by everybody; one file may have both. "
            "`verify = false` takes whatever certificate these servers show, unless `pins` say which key it has to "
            "have: then `names` are single hosts, never a pattern, and the log has a warning. There is no such switch "
            "for all hosts.",
            examples=[[{"names": ["printer.example"], "verify": False}]],
        ),
    ] = ()
