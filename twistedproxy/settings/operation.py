"""The settings of how the daemon runs and is steered; `types` puts them together with those of its traffic."""

from __future__ import annotations

from typing import Annotated

import msgspec

from twistedproxy.settings.kinds import count, duration, special


class ServiceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The daemon as a whole."""

    workers: Annotated[
        int | str,
        special(
            "workers",
            "How many processes move traffic. 1 does everything in one process. With more, a parent process "
            "starts that many workers, which share the listeners, and replaces one that ends. `auto` is one "
            "worker for each CPU core that the process may use.",
            examples=["auto", 4],
        ),
    ] = 1
    drain_timeout: Annotated[
        float,
        duration(
            "How long a stop (SIGTERM) waits for running exchanges and tunnels to end. New connections "
            "are refused from the first moment, unless `drain_delay` says otherwise; what is still running "
            "when the time is over is cut. 0 cuts at once. A second SIGTERM does not wait either.",
            least=0,
            examples=["5m"],
        ),
    ] = 30.0
    drain_delay: Annotated[
        float,
        duration(
            "How long a stop (SIGTERM) goes on taking new connections while `/readyz` already answers 503, "
            "so that a load balancer can look elsewhere first. Then the drain begins, and `drain_timeout` "
            "counts from there.",
            least=0,
            examples=["5s"],
        ),
    ] = 0.0
    lag_limit: Annotated[
        float,
        duration(
            "How long a worker may not answer its parent, because its reactor is stuck. After that it is "
            "killed and replaced. It counts only with several `workers`.",
            least=1,
            examples=["30s"],
        ),
    ] = 10.0


class TLSSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The certificate authority that the proxy's own certificates come from."""

    authority: Annotated[
        str,
        special(
            "file path",
            "The certificate authority: the absolute path of a PEM file with a private key without a password, its "
            "certificate and, where that is an intermediate, those above it. The file must not be readable by "
            "everybody. When it is empty: the proxy's own, which is made in the directory `ca` of the state directory "
            "when it is first asked for.",
            examples=["/etc/twistedproxy/authority.pem"],
        ),
    ] = ""
    leaf_lifetime: Annotated[
        float,
        duration(
            "How long a certificate is valid that is shown in a tunnel that is opened (`intercept`). Clients take none "
            "that are valid for much longer than servers' own.",
            least=3600,
            most=45 * 86400,
            examples=["7d"],
        ),
    ] = 45 * 86400.0
    leaf_cache: Annotated[
        int,
        count(
            "How many of these certificates each worker keeps in memory, and about how many all of them keep in the "
            "directory `ca/leaves` of the state directory. A new one takes a millisecond.",
            examples=[10_000],
        ),
    ] = 1000


class ControlSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the proxy can be looked at and steered while it runs."""

    socket: Annotated[
        str,
        special(
            "socket path",
            "The Unix socket of the control API: an absolute path, or `off` for none. Only the user that the "
            "proxy runs as can open it (mode 0600). When it is empty: `control.sock` in the runtime "
            "directory, which is systemd's `RUNTIME_DIRECTORY`, else `/run/twistedproxy` for root and "
            "`$XDG_RUNTIME_DIR/twistedproxy` for others, else the state directory.",
            examples=["/run/twistedproxy/admin.sock"],
        ),
    ] = ""
    metrics: Annotated[
        tuple[str, ...],
        special(
            "endpoints or none",
            "Where `/healthz`, `/readyz` and `/metrics` can be had over TCP too, for probes and for Prometheus: "
            "endpoint descriptions as in `downstream.listen`. Nothing else of the control API is there, so that "
            "nothing can be changed. Whoever reaches one of them can read the proxy's numbers.",
            examples=[["tcp:9180:interface=127.0.0.1"]],
        ),
    ] = ()
