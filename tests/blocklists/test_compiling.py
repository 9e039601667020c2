"""Compiling, here and in a process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from twistedproxy.access.blocklists import patterns
from twistedproxy.blocklists.compiling import SMALL, Compiler, Job, compile_now
from twistedproxy.blocklists.files import BlocklistError, open_image
from twistedproxy.workers.slot import with_our_modules

PRIME = 576460752303423433


def job(path: Path, **more: Any) -> Job:
    return Job(
        path=str(path),
        image=str(path.with_suffix(".image")),
        format=more.get("format", "auto"),
        subdomains=True,
        prime=PRIME,
        source="here",
        most=more.get("most", 1 << 30),
    )


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A list that is not compiled where one is."""
    path = tmp_path / "large.txt"
    path.write_bytes(b"".join(b"n%d.example\n" % number for number in range(20_000)))
    assert path.stat().st_size > SMALL
    return path


def compiler() -> Compiler:
    from twisted.internet import reactor

    return Compiler(reactor, with_our_modules(os.environ))


@pytest_twisted.ensureDeferred
async def test_a_large_list_is_compiled_by_a_process(large: Path) -> None:
    compiling = compiler()
    result = compiling(job(large))
    assert repr(compiling) == "<Compiler at work>"
    report = await result
    assert (report.names, report.lines) == (20_000, 20_000)
    image = open_image(large.with_suffix(".image"), PRIME)
    assert (image.report, image.source) == (report, "here")
    assert repr(compiling) == "<Compiler idle>"


@pytest_twisted.ensureDeferred
async def test_why_a_process_could_not_do_it(large: Path) -> None:
    with pytest.raises(BlocklistError, match=r"^it is larger than 1000 bytes$"):
        await compiler()(job(large, most=1000))
    assert not large.with_suffix(".image").exists()


@pytest_twisted.ensureDeferred
async def test_a_process_that_dies(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BlocklistError, match="the process that compiled it has failed"):
        await compiler()(job(large))


@pytest_twisted.ensureDeferred
async def test_it_can_be_stopped(large: Path) -> None:
    compiling = compiler()
    result = compiling(job(large))
    compiling.stop()
    with pytest.raises(BlocklistError, match="has failed"):
        await result
    compiling.stop()


def test_a_small_list_is_compiled_at_once(tmp_path: Path) -> None:
    path = tmp_path / "small.txt"
    path.write_bytes(b"a.example")
    reports: list[object] = []
    compiler()(job(path)).addCallback(reports.append)
    assert len(reports) == 1
    path.unlink()
    failed: Deferred[Any] = compiler()(job(path))
    failed.addErrback(lambda failure: reports.append(failure.getErrorMessage()))
    assert reports[1] == "No such file or directory"


def test_expressions_need_their_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "urls.txt"
    path.write_bytes(b"ads[0-9]")

    def unavailable() -> object:
        raise patterns.RegexesUnavailable("no library")

    monkeypatch.setattr(patterns, "_re2", unavailable)
    with pytest.raises(BlocklistError, match="no library"):
        compile_now(job(path, format="regexes"))
