"""The operator's own lists, as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from twistedproxy.blocklists import own
from twistedproxy.blocklists.files import BlocklistError, ListFiles
from twistedproxy.blocklists.own import LOCAL, LOCAL_ALLOW, edit, own_lists


def test_entries_come_and_go(tmp_path: Path) -> None:
    files = ListFiles(tmp_path / "lists")
    assert list(own_lists(files)) == []
    assert edit(files, LOCAL, "B.example.", True)
    assert edit(files, LOCAL, "*.a.example", True)
    assert edit(files, LOCAL, "2001:DB8::1", True)
    assert edit(files, LOCAL, ".zip", True)
    assert edit(files, LOCAL, "bücher.example", True)
    assert not edit(files, LOCAL, "b.example", True)
    assert files.copy(LOCAL).read_text() == "*.a.example\n.zip\n2001:db8::1\nb.example\nxn--bcher-kva.example\n"
    assert edit(files, LOCAL, ".zip", False)
    assert not edit(files, LOCAL, ".zip", False)
    assert not edit(files, LOCAL_ALLOW, "b.example", False)
    edit(files, LOCAL_ALLOW, "ok.b.example", True)
    assert [(one.name, one.allow) for one in own_lists(files)] == [(LOCAL, False), (LOCAL_ALLOW, True)]


@pytest.mark.parametrize("host", ["", "a b", "http://a.example/", "com", "a.example:80", "\ud800.example"])
def test_what_is_no_host(tmp_path: Path, host: str) -> None:
    with pytest.raises(BlocklistError, match=r"neither|without a dot"):
        edit(ListFiles(tmp_path), LOCAL, host, True)


def test_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lists").touch()
    with pytest.raises(BlocklistError, match=r"lists: File exists|Not a directory"):
        edit(ListFiles(tmp_path / "lists"), LOCAL, "a.example", True)
    monkeypatch.setattr(own, "_LARGEST", 9)
    with pytest.raises(BlocklistError, match="the list is full"):
        edit(ListFiles(tmp_path / "other"), LOCAL, "a.example", True)
