"""``twistd pyproxy``: its options, and the service that they ask for."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from twisted.application.service import IService
from twisted.python.usage import Options as TwistedOptions
from twisted.python.usage import UsageError

from twistedproxy.accounts import roster
from twistedproxy.blocklists.files import BlocklistError
from twistedproxy.descriptors import raise_limit
from twistedproxy.listeners import CannotListen
from twistedproxy.logs import CannotLog
from twistedproxy.places import runtime_directory, settings_file, state_directory
from twistedproxy.reading import Unusable
from twistedproxy.record.log_file import STANDARD_OUTPUT, LogFile
from twistedproxy.record.operational_log import operational_log
from twistedproxy.routes import route
from twistedproxy.service import ProxyService
from twistedproxy.settings.annotate import annotated_toml
from twistedproxy.settings.describe import describe
from twistedproxy.settings.load import Loaded
from twistedproxy.settings.problems import SettingsError
from twistedproxy.settings.sources import Sources
from twistedproxy.settings.spelling import toml_value
from twistedproxy.surroundings import Surroundings
from twistedproxy.systemd.activation import (
    ACTIVATION_VARIABLES,
    ActivationError,
    InheritedSockets,
    activated,
    starting_environment,
)
from twistedproxy.systemd.notify import NOTIFY_VARIABLES, Notifier, for_successor
from twistedproxy.tls import trust
from twistedproxy.upgrade import VARIABLE, Handover

_FOR_THIS_PROCESS = frozenset((*ACTIVATION_VARIABLES, *NOTIFY_VARIABLES, VARIABLE))
"""Variables that mean this process, and none that it starts."""


class Options(TwistedOptions):
    """What can be said on the command line."""

    synopsis = "[options]"
    longdesc = (
        "A forward proxy for HTTP and HTTPS. Without any settings it listens on 127.0.0.1:8080 and serves clients "
        "on this machine. The files *.toml in the directory pyproxy.d beside the settings file go over it, then "
        "environment variables such as PYPROXY_LOG_LEVEL, then the options here. Every setting is described in "
        "docs/settings.md and by --print-settings."
    )
    optParameters = (  # Twisted's name, and it adds nothing to it
        (
            "config",
            "c",
            None,
            "The settings file; by default pyproxy.toml in /etc/twistedproxy or $XDG_CONFIG_HOME/twistedproxy.",
        ),
    )
    optFlags = (  # as above
        ("check", None, "Validate the settings, say what they mean, and exit."),
        ("print-settings", None, "Print the settings in effect, annotated, as TOML, and exit."),
    )

    def __init__(self) -> None:
        super().__init__()
        self.overrides: list[tuple[str, str]] = []
        self._listen: list[str] = []
        self.sources: Sources
        self.arguments: Sequence[str] = ()
        self.loaded: Loaded

    def opt_listen(self, endpoint: str) -> None:
        """Listen on this endpoint, in Twisted's notation, instead of those in the settings:
        tcp:8080:interface=127.0.0.1, unix:/run/pyproxy.sock, ... Can be given more than once."""
        self._listen.append(endpoint)

    def opt_set(self, assignment: str) -> None:
        """Set one setting, as table.key=value, over what files and environment say. Can be given more than once."""
        path, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set takes table.key=value, not {assignment!r}")
        self.overrides.append((path.strip(), value.strip()))

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        self.arguments = tuple(options or ())
        super().parseOptions(options)

    def postOptions(self) -> None:
        if self._listen:
            self.overrides.append(("downstream.listen", toml_value(self._listen)))
        named = self["config"]
        path = settings_file(os.environ, os.geteuid() == 0) if named is None else named
        # A daemon changes its directory, and reads the file again on a reload.
        self.sources = Sources(
            os.path.abspath(path),
            needed=named is not None,
            environment=os.environ,
            overrides=self.overrides,
            check=lambda settings: (*trust.faults(settings), *roster.faults(settings), *route.faults(settings)),
        )
        try:
            self.loaded = self.load()
        except SettingsError as error:
            sys.stderr.write(f"{error}\n")
            raise SystemExit(1) from None
        if self["check"]:
            where = ", ".join(self.loaded.files) or "no settings file"
            told = describe(self.loaded.settings, self.loaded.ignored)
            _print_and_end("\n".join([f"The settings are valid ({where}).", *told, ""]))
        if self["print-settings"]:
            _print_and_end(annotated_toml(self.loaded.settings, self.loaded.sources))

    def load(self, candidate: str | None = None) -> Loaded:
        """Read the settings; `SettingsError` when they cannot be used.

        A ``candidate`` is a text that stands in the place of the settings file's.
        """
        return self.sources.load(candidate)


def _print_and_end(text: str) -> NoReturn:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads it, such as head, has read enough; what is left must not be tried again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(0)


def makeService(options: Options) -> IService:
    """The proxy that the options ask for, already listening; one line and exit status 1 when it cannot."""
    from twisted.internet import reactor as installed  # by twistd, by now, and not before

    reactor: Any = installed
    try:
        service = ProxyService(reactor, options.loaded, options.load, _surroundings(options, reactor))
        service.heed_signals()
        service.listen()
    except (ActivationError, BlocklistError, CannotListen, CannotLog, Unusable) as error:
        raise SystemExit(f"pyproxy: {error}") from None
    return service


def _surroundings(options: Options, reactor: Any) -> Surroundings:
    """What this process was given, beside the settings."""
    twistd: Any = options.parent or {}
    environment = starting_environment(os.environ)
    is_root = os.geteuid() == 0
    handover = Handover.received(environment)
    in_foreground = handover.in_foreground if handover else bool(twistd.get("nodaemon"))
    standard_output = LogFile(STANDARD_OUTPUT, reactor)
    log = None
    if not twistd.get("logger"):
        level = options.loaded.settings.log.level
        try:
            log = operational_log(twistd, level, reactor, reactor, standard_output)
        except (OSError, ValueError) as error:
            raise SystemExit(f"the log cannot be opened: {error}") from None
    return Surroundings(
        operational_log=log,
        standard_output=standard_output if in_foreground else None,
        access_log_path=STANDARD_OUTPUT if in_foreground else state_directory(os.environ, is_root) / "access.log",
        control_socket=runtime_directory(os.environ, is_root) / "control.sock",
        state_directory=state_directory(os.environ, is_root),
        descriptors=raise_limit(),
        settings_file=options.sources.path,
        in_foreground=in_foreground,
        twistd=twistd,
        arguments=_arguments(options),
        environment={name: value for name, value in os.environ.items() if name not in _FOR_THIS_PROCESS},
        notifications={name: value for name, value in for_successor(environment).items() if name in NOTIFY_VARIABLES},
        notifier=Notifier(environment, pid=os.getpid(), monotonic=time.monotonic),
        inherited=InheritedSockets(handover.inherited() if handover else activated(environment, os.getpid())),
        handover=handover,
    )


def _arguments(options: Options) -> list[str]:
    """What this process was told, for another one that may be started in another directory."""
    named = options["config"] is not None
    return [*options.arguments, *([f"--config={options.sources.path}"] if named else [])]
