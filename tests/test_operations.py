"""docs/operations.md keeps up with the code: every log message, every metric, command and setting that it names."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import click
import pytest

from twistedproxy.cli.main import Later, commands
from twistedproxy.control.metrics import Numbers
from twistedproxy.control.types import Status, Worker
from twistedproxy.record.statistics import Requests, Statistics, Tally
from twistedproxy.settings.keys import keys
from twistedproxy.systemd.units import Service, service_unit

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

LEVELS = {"debug": "debug", "info": "info", "warn": "warn", "error": "error", "failure": "critical"}
"""The methods of a logger, and the level that each writes at."""

_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


def template(text: str) -> str:
    """A message as the page writes it: what differs each time is an ellipsis."""
    return _PLACEHOLDER.sub("…", text)


def logged(source: str) -> Iterator[tuple[str, str]]:
    """The level and the text of each message that the source of a module can log."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        method, owner = node.func.attr, node.func.value
        name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
        if name != "_log" or method not in (*LEVELS, "critical", "emit"):
            continue
        assert method in LEVELS, f"line {node.lineno}: {method} is not one of {', '.join(LEVELS)}"
        first = node.args[0] if node.args else None
        assert isinstance(first, ast.Constant), f"line {node.lineno}: the message is no literal"
        assert isinstance(first.value, str)
        yield LEVELS[method], template(first.value)


def all_logged() -> set[tuple[str, str]]:
    return {one for path in ROOT.glob("twistedproxy/**/*.py") for one in logged(path.read_text(encoding="utf-8"))}


def section(heading: str, level: int = 2) -> str:
    """What stands under a heading of the page, up to the next one that is as high."""
    found = re.search(
        rf"^{'#' * level} {re.escape(heading)}\n(.*?)(?=^#{{1,{level}}} |\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
    assert found, f"the page has no heading {heading}"
    return found[1]


def explained() -> list[tuple[str, str]]:
    """The level and the text of each message in the page's tables."""
    return [
        (level, text)
        for level in dict.fromkeys(LEVELS.values())
        for text in re.findall(r"^\| `([^`]+)` \|", section(level, 3), re.MULTILINE)
    ]


def shell_lines() -> list[str]:
    """Every command line of the page: in blocks of shell, and in the text where it is one."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("sudo ") for block in blocks for line in block.splitlines()]
    return lines + re.findall(r"`((?:pyproxyctl|twistd) [^`]+)`", PAGE)


def invocations() -> list[str]:
    """Those of pyproxyctl, each without what a shell would do with its output."""
    return [
        re.split(r"\s[|>#&]", line)[0].strip()
        for line in shell_lines()
        if re.match(r"(?:/opt/twistedproxy/bin/)?pyproxyctl\b", line)
    ]


def unparsed(line: str) -> str:
    """What is wrong with a command line of pyproxyctl; nothing when it can be parsed."""
    command: click.Command = commands
    context = click.Context(command, info_name="pyproxyctl")
    arguments = shlex.split(line)[1:]
    while isinstance(command, click.Group):
        try:
            context = command.make_context(context.info_name, list(arguments), parent=context.parent)
            name, found, arguments = command.resolve_command(context, [*context._protected_args, *context.args])
        except click.ClickException as error:
            return f"{line}: {error.format_message()}"
        assert found is not None
        command = found
        context = click.Context(command, info_name=name, parent=context)
    if isinstance(command, Later):
        # What it really is comes when it is run.
        from twistedproxy.cli import installing

        command = getattr(installing, (command.name or "").replace("-", "_"))
    try:
        command.make_context(context.info_name, list(arguments), parent=context.parent)
    except click.ClickException as error:
        return f"{line}: {error.format_message()}"
    return ""


def all_phases() -> Statistics:
    """Statistics in which nothing has been counted."""
    statistics = Statistics()
    Tally().read_into(statistics)
    return statistics


def exposed() -> dict[str, set[str]]:
    """The name of every sample that a scrape can have, with its labels."""
    statistics = all_phases()
    statistics.requests = [Requests("forward", "5xx", "dns_error", 1)]
    statistics.lookups_failed = {"dns_error": 1}
    statistics.parents_failing = {"office http://proxy.example:3128": 1}
    worker = Worker(0, 1, "ready", 1.0, 0, "", 0.0, statistics)
    status = Status("0", 1, "ready", 1.0, 1.0, 1, "", "info", [], 0, 0, [worker], statistics)
    return {sample.name: {*sample.labels} for family in Numbers(status).collect() for sample in family.samples}


def queries() -> list[str]:
    """Every piece of code of the page that names a metric."""
    return [code for code in re.findall(r"`([^`\n]+)`", PAGE) if re.search(r"\bpyproxy_[a-z_]*[a-z]\b", code)]


# ------------------------------------------------------------ messages


def test_every_message_is_explained() -> None:
    assert sorted(all_logged() - set(explained())) == []


def test_no_message_is_explained_that_there_is_not() -> None:
    assert sorted(set(explained()) - all_logged()) == []
    assert len(explained()) == len(set(explained()))


def test_messages_are_found_in_the_source() -> None:
    source = "self._log.warn('{count} of {limit:g} s', count=1)\n_log.failure('a')\nother.info('b')\nself._log.x('c')"
    assert list(logged(source)) == [("warn", "… of … s"), ("critical", "a")]


@pytest.mark.parametrize("source", ["self._log.info(text)", "self._log.critical('a')", "_log.info()"])
def test_message_that_cannot_be_found(source: str) -> None:
    with pytest.raises(AssertionError, match="line 1"):
        list(logged(source))


# ------------------------------------------------------------ metrics


def test_metrics_and_their_labels_are_exposed() -> None:
    there = exposed()
    named = {name for query in queries() for name in re.findall(r"\bpyproxy_[a-z_]*[a-z]\b", query)}
    assert len(named) >= 12
    assert sorted(named - set(there)) == []
    wrong = [
        (name, label)
        for query in queries()
        for name, selectors in re.findall(r"\b(pyproxy_[a-z_]+)\{([^}]*)\}", query)
        for label in re.findall(r"([a-z_]+)(?:=~|!~|!=|=)", selectors)
        if label not in there[name]
    ]
    assert wrong == []


def test_phases_and_states_in_queries_exist() -> None:
    phases = set(all_phases().phases)
    states = {*get_args(get_type_hints(Worker)["state"]), "in_use", "idle"}
    for query in queries():
        assert set(re.findall(r'phase="([a-z_]+)"', query)) <= phases, query
        assert set(re.findall(r'state="([a-z_]+)"', query)) <= states, query


# ------------------------------------------------------------ commands and settings


def test_command_lines_are_understood() -> None:
    assert len(invocations()) >= 15
    assert [wrong for line in invocations() if (wrong := unparsed(line))] == []


@pytest.mark.parametrize(
    "line",
    [
        "pyproxyctl nosuch",
        "pyproxyctl status --nosuch",
        "pyproxyctl install-service --nosuch",
        "pyproxyctl settings apply",
        "pyproxyctl connections close",
        "pyproxyctl --nosuch status",
    ],
)
def test_command_line_that_is_not_understood(line: str) -> None:
    assert unparsed(line).startswith(line)


def test_settings_that_are_named_exist() -> None:
    tables = {path.partition(".")[0] for path in keys()}
    named = {word for word in re.findall(r"`([a-z_]+\.[a-z_]+)`", PAGE) if word.partition(".")[0] in tables}
    assert len(named) >= 10
    assert sorted(named - set(keys())) == []
    given = {path for line in shell_lines() for path in re.findall(r"--set ([a-z_.]+)=", line)}
    assert sorted(given - set(keys())) == []


def test_unit_excerpt_is_what_is_written() -> None:
    """The lines of the unit that the page shows are those of the unit for a system service with defaults."""
    unit = service_unit(Service(twistd="/opt/twistedproxy/bin/twistd", config="/etc/twistedproxy/pyproxy.toml"))
    shown = re.search(r"^```\n(make .*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert shown
    lines = [line[4:] for line in shown[1].splitlines() if re.match(r"    [A-Z][A-Za-z]+=", line)]
    assert len(lines) >= 5
    assert [line for line in lines if line not in unit.splitlines()] == []


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE):
        assert (ROOT / "docs" / target).is_file(), target
    headings = {
        re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    assert sorted(set(re.findall(r"\]\(#([^)]+)\)", PAGE)) - headings) == []
