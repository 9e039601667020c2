"""One list, as it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from twistedproxy.access.blocklists.report import Report
from twistedproxy.blocklists.compiling import compile_now
from twistedproxy.blocklists.files import BlocklistError, ListFiles
from twistedproxy.blocklists.kept import RETRY, KeptList
from twistedproxy.settings.blocklists import Blocklist, BlocklistsSettings

NOW = 1_800_000_000.0
SETTINGS = BlocklistsSettings()


@pytest.fixture
def files(tmp_path: Path) -> ListFiles:
    return ListFiles(tmp_path / "lists")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "ads.txt"
    path.write_text("a.example\nb.example\n")
    return path


def taken(files: ListFiles, source: Path) -> KeptList:
    kept = KeptList(Blocklist(name="ads", source=str(source)), files)
    assert kept.can_be_made
    job = kept.job(kept.path, 1000)
    kept.take(job, compile_now(job), NOW)
    return kept


def test_it_is_found_again(files: ListFiles, source: Path) -> None:
    kept = taken(files, source)
    again = KeptList(kept.settings, files)
    assert (again.image, again.report, again.facts, again.size) == (kept.image, kept.report, kept.facts, kept.size)
    assert (again.entries, again.outdated, again.can_be_made) == (2, False, False)
    source.write_text("c.example\n")
    assert again.outdated
    assert KeptList(kept.settings, files).report is None
    assert repr(KeptList(kept.settings, files)) == "<KeptList ads absent>"


def test_facts_that_cannot_be_read_are_none(files: ListFiles, source: Path) -> None:
    kept = taken(files, source)
    for content in (b"", b"\xff", b"[]", b'{"source": 1}', b'{"source": "/other", "checked": 5}'):
        files.facts("ads").write_bytes(content)
        assert KeptList(kept.settings, files).facts.checked == 0


def test_when_it_is_looked_at_again(files: ListFiles, source: Path) -> None:
    kept = taken(files, source)
    assert kept.due(SETTINGS, NOW + 400) == 86400 - 400
    assert kept.due(SETTINGS, NOW - 10**6) == 86400
    assert kept.due(SETTINGS, NOW + 10**6) == 0
    kept.settings = Blocklist(name="ads", source="x", refresh="2m")
    assert kept.due(SETTINGS, NOW) == 120
    kept.has_failed(BlocklistError("no"))
    assert kept.due(SETTINGS, NOW) == 60
    kept.has_failed(BlocklistError("no"))
    assert kept.due(SETTINGS, NOW) == 120
    kept.is_fresh(NOW)
    assert (kept.facts.failures, kept.facts.error) == (0, "")
    assert RETRY == (60, 300, 900, 3600)


@pytest.mark.parametrize(
    ("names", "rules", "force", "good"),
    [(2, 0, False, True), (1, 0, False, True), (0, 1, False, True), (0, 0, False, False), (0, 0, True, False)],
)
def test_what_may_follow(files: ListFiles, source: Path, names: int, rules: int, force: bool, good: bool) -> None:
    kept = taken(files, source)
    report = Report(lines=9, names=names, rules=rules)
    if good:
        kept.verify(report, SETTINGS, force)
    else:
        with pytest.raises(BlocklistError, match="in 9 lines"):
            kept.verify(report, SETTINGS, force)


def test_how_much_it_may_have_shrunk(files: ListFiles, source: Path) -> None:
    kept = taken(files, source)
    kept.report = Report(names=100)
    kept.verify(Report(names=50), SETTINGS, False)
    with pytest.raises(BlocklistError, match="from 100 to 49 entries"):
        kept.verify(Report(names=49), SETTINGS, False)
    kept.verify(Report(names=49), SETTINGS, True)
    kept.verify(Report(names=1), BlocklistsSettings(max_shrink=100), False)


def test_a_file_that_is_gone(files: ListFiles, source: Path) -> None:
    kept = taken(files, source)
    source.unlink()
    with pytest.raises(BlocklistError, match=r"ads\.txt: No such file or directory"):
        kept.job(kept.path, 1000)
