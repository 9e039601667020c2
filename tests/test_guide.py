"""The operator's guide keeps up with the code: every reason, every setting it names, every default."""

from __future__ import annotations

import re
from pathlib import Path

from tests.error_tree import every_error
from twistedproxy.errors import LimitReached, Refused
from twistedproxy.record.finished import CLIENT_STALLED
from twistedproxy.record.formats import JSONLine
from twistedproxy.record.message_log import MessageLine
from twistedproxy.settings.keys import keys
from twistedproxy.settings.quantities import duration_text, size_text
from twistedproxy.tunnel.relay import CLIENT_LEFT, STOPPED, TUNNEL_IDLE, UPSTREAM_RESET

GUIDE = (Path(__file__).parents[1] / "docs" / "guide.md").read_text(encoding="utf-8")
WORDS = set(re.findall(r"`([a-z_.]+)`", GUIDE))


def test_every_reason_is_explained() -> None:
    # The bases of the refusals say less than each of them does, and are never met.
    reasons = {error.reason for error in every_error()} - {Refused.reason, LimitReached.reason}
    reasons |= {CLIENT_LEFT, CLIENT_STALLED, STOPPED, TUNNEL_IDLE, UPSTREAM_RESET}
    assert sorted(reasons - WORDS) == []


def test_status_of_each_reason() -> None:
    """Where a status stands beside a reason, it is that reason's."""
    statuses = {error.reason: error.status for error in every_error()}
    wrong = [
        (reason, status)
        for status, reason in re.findall(r"\b([45]\d\d) `([a-z_]+)`", GUIDE)
        if statuses.get(reason) != int(status)
    ]
    assert wrong == []


def test_settings_are_there_and_so_are_their_deadlines() -> None:
    tables = {path.partition(".")[0] for path in keys()}
    named = {word for word in WORDS if word.partition(".")[0] in tables and "." in word}
    assert sorted(named - set(keys())) == []
    timeouts = {path for path in keys() if path.endswith("_timeout") or path == "resolver.timeout"}
    assert sorted(timeouts - named) == []
    limits = {path for path in keys() if re.search(r"stream\.max_(?!idle)", path)} - {"upstream.max_fields"}
    assert sorted(limits - named) == []


def test_defaults_are_the_settings() -> None:
    rows = re.findall(r"^\| `([a-z_]+\.[a-z_]+)`[^|]*\| (\d+ ?(?:KiB|s|h)?)[ ,]", GUIDE, re.MULTILINE)
    assert len(rows) >= 18
    for path, said in rows:
        key = keys()[path]
        default = key.default
        assert isinstance(default, int | float)
        spelled = {
            "duration": duration_text(default),
            "size": size_text(int(default)),
            "count": str(default),
        }[key.kind.name]
        seconds = f"{default:g}s" if key.kind.name == "duration" else ""
        assert said.replace(" ", "") in (spelled, seconds), path


def test_every_member_of_the_json_format_is_explained() -> None:
    assert sorted(set(JSONLine.__struct_fields__) - WORDS) == []


def test_every_member_of_the_log_of_messages_is_explained() -> None:
    assert sorted(set(MessageLine.__struct_fields__) - WORDS) == []
