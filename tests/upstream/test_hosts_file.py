"""The hosts file: which names stand in it, and with which addresses."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twistedproxy.upstream.hosts_file import HostsFile
from twistedproxy.upstream.literals import ResolvedAddress


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


def test_addresses(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(
        "10.0.0.1 one two\n010.0.0.1 one\n::FFFF:10.0.0.2 one # 10.0.0.3\nFD00::1 One\nfe80::1%eth0 one\nx one\n"
    )
    hosts = HostsFile(str(path))
    assert hosts.addresses("one") == [
        ResolvedAddress("10.0.0.1", socket.AF_INET),
        ResolvedAddress("10.0.0.2", socket.AF_INET),
        ResolvedAddress("fd00::1", socket.AF_INET6),
    ]
    assert hosts.addresses("two") == [ResolvedAddress("10.0.0.1", socket.AF_INET)]
    assert hosts.addresses("three") == []
