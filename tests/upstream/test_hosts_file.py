"""The hint from the hosts file."""

from __future__ import annotations

import os
from pathlib import Path

from twistedproxy.upstream.hosts_file import HostsFile


def test_names_and_aliases_are_in_it(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(b"# 10.0.0.9 commented\n127.0.0.1\tLocalhost alias # not.this\n\n::1 six\xff\n10.0.0.1\n")
    hosts = HostsFile(str(path))
    assert "localhost" in hosts
    assert "alias" in hosts
    for name in ("commented", "not.this", "#", "127.0.0.1", "10.0.0.1", "other", ""):
        assert name not in hosts
    assert repr(hosts) == f"<HostsFile {path} names=3>"


def test_it_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("10.0.0.1 one\n")
    hosts = HostsFile(str(path))
    assert "one" in hosts
    path.write_text("10.0.0.1 two\n")
    os.utime(path, ns=(1, 1))
    assert "one" not in hosts
    assert "two" in hosts


def test_a_missing_file_has_no_names(tmp_path: Path) -> None:
    hosts = HostsFile(str(tmp_path / "none"))
    assert "localhost" not in hosts


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(b"10.0.0.1 one\n" + b"#" * 300_000)
    assert "one" not in HostsFile(str(path))
