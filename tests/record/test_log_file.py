"""The log file: when it writes, what it does when it cannot, and that no line is ever torn."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, formatEvent

from twistedproxy.record.log_file import FLUSH_SIZE, FULL_SECONDS, LIMIT, STANDARD_OUTPUT, LogFile

PIPE_BUF = select.PIPE_BUF


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[LogEvent]:
    """What log files say to the operational log."""
    events: list[LogEvent] = []
    monkeypatch.setattr(LogFile, "_log", Logger(namespace="test", observer=events.append))
    return events


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def file(path: Path, clock: Clock) -> Iterator[LogFile]:
    file = LogFile(str(path), clock)
    file.open()
    yield file
    file.close()
    assert clock.getDelayedCalls() == []


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe, as a shell would make one: blocking."""
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        with suppress(OSError):
            os.close(descriptor)


def read_all(descriptor: int) -> bytes:
    """What can be read now."""
    read = b""
    while select.select([descriptor], [], [], 0)[0] and (some := os.read(descriptor, 1 << 20)):
        read += some
    return read


def said(events: list[LogEvent]) -> list[tuple[str, str]]:
    return [(event["log_level"].name, formatEvent(event)) for event in events]


def numbered(count: int, size: int) -> list[bytes]:
    """Different lines of ``size`` bytes each."""
    return [b"%d " % number + b"x" * (size - len(b"%d " % number) - 1) + b"\n" for number in range(count)]


# ---------------------------------------------------------------- opening


def test_nothing_is_made_before_open(path: Path, clock: Clock) -> None:
    file = LogFile(str(path), clock)
    assert not path.exists()
    assert repr(file) == f"<LogFile {path} not open waiting=0 lost_lines=0>"


def test_the_directory_and_the_file_are_made_for_the_group_to_read(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "new" / "access.log"
    umask = os.umask(0o022)
    try:
        file = LogFile(str(path), clock)
        file.open()
        file.close()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_the_descriptor_is_not_inherited(file: LogFile, path: Path) -> None:
    number = next(
        int(entry)
        for entry in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{entry}") and os.readlink(f"/proc/self/fd/{entry}") == str(path)
    )
    assert not os.get_inheritable(number)
    assert fcntl.fcntl(number, fcntl.F_GETFL) & os.O_APPEND


def test_an_old_file_is_added_to(path: Path, clock: Clock) -> None:
    path.write_bytes(b"before\n")
    file = LogFile(str(path), clock)
    file.open()
    file.write(b"after\n")
    file.close()
    assert path.read_bytes() == b"before\nafter\n"


def test_a_relative_path_stays_where_it_was(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = LogFile("access.log", clock)
    monkeypatch.chdir("/")
    file.open()
    file.close()
    assert (tmp_path / "access.log").exists()


def test_lines_may_come_before_the_file_is_open(path: Path, clock: Clock) -> None:
    file = LogFile(str(path), clock)
    file.write(b"1\n")
    clock.advance(5)
    file.write_at_once(b"2\n")
    file.write(b"3\n")
    file.open()
    assert path.read_bytes() == b"1\n2\n3\n"
    assert clock.getDelayedCalls() == []
    file.close()


def test_a_second_open_changes_nothing(file: LogFile, path: Path) -> None:
    descriptors = os.listdir("/proc/self/fd")
    file.open()
    assert os.listdir("/proc/self/fd") == descriptors
    file.write(b"1\n")
    file.close()
    assert path.read_bytes() == b"1\n"


def test_what_cannot_be_opened_is_an_error(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(IsADirectoryError):
        LogFile(str(tmp_path), clock).open()
    with pytest.raises(OSError, match="File exists"):
        LogFile(str(tmp_path / "file" / "access.log"), clock).open()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="No such device") as caught:
        LogFile(str(tmp_path / "fifo"), clock).open()
    assert caught.value.errno == errno.ENXIO


# ---------------------------------------------------------------- when it writes


def test_a_line_waits_for_a_second(file: LogFile, path: Path, clock: Clock) -> None:
    file.write(b"1\n")
    clock.advance(0.6)
    file.write(b"2\n")
    clock.advance(0.39)
    assert path.read_bytes() == b""
    assert len(clock.getDelayedCalls()) == 1
    assert repr(file) == f"<LogFile {path} open waiting=4 lost_lines=0>"
    clock.advance(0.01)
    assert path.read_bytes() == b"1\n2\n"
    assert clock.getDelayedCalls() == []
    file.write(b"3\n")
    clock.advance(1)
    assert path.read_bytes() == b"1\n2\n3\n"


def test_much_is_written_in_one_piece_at_once(
    file: LogFile, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[int] = []
    write = os.write

    def counted(descriptor: int, data: memoryview) -> int:
        pieces.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    lines = numbered(FLUSH_SIZE // 100 + 1, 100)
    for line in lines[:-1]:
        file.write(line)
    assert pieces == []
    file.write(lines[-1])
    monkeypatch.undo()
    assert pieces == [100 * len(lines)]
    assert path.read_bytes() == b"".join(lines)
    assert clock.getDelayedCalls() == []


def test_a_line_can_be_written_at_once(file: LogFile, path: Path, clock: Clock) -> None:
    file.write(b"1\n")
    file.write_at_once(b"2\n  3\n")
    assert path.read_bytes() == b"1\n2\n  3\n"
    assert clock.getDelayedCalls() == []


def test_flush_without_lines_does_nothing(file: LogFile, path: Path) -> None:
    file.flush()
    assert path.read_bytes() == b""


def test_close_writes_what_waits(file: LogFile, path: Path, clock: Clock) -> None:
    file.write(b"1\n")
    file.close()
    assert path.read_bytes() == b"1\n"
    assert clock.getDelayedCalls() == []
    file.write(b"2\n")
    file.write_at_once(b"3\n4\n")
    file.close()
    assert repr(file) == f"<LogFile {path} closed waiting=0 lost_lines=3>"
    assert clock.getDelayedCalls() == []


def test_close_without_open_loses_what_waits(path: Path, clock: Clock, events: list[LogEvent]) -> None:
    file = LogFile(str(path), clock)
    file.write(b"1\n")
    file.write(b"2\n")
    file.close()
    assert file.lost_lines == 2
    assert clock.getDelayedCalls() == []
    assert said(events) == [
        ("error", f"{path} cannot be written, lines are lost: it was closed before all was written")
    ]


# ---------------------------------------------------------------- reopening


def test_reopen_goes_on_in_a_new_file(file: LogFile, path: Path, clock: Clock) -> None:
    file.write(b"1\n")
    old = path.rename(path.with_suffix(".1"))
    file.write(b"2\n")
    file.reopen()
    file.write(b"3\n")
    clock.advance(1)
    assert old.read_bytes() == b"1\n2\n"
    assert path.read_bytes() == b"3\n"


def test_reopen_makes_the_directory_again(file: LogFile, path: Path, clock: Clock, tmp_path: Path) -> None:
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    file.write(b"1\n")
    file.reopen()
    file.write(b"2\n")
    file.close()
    assert (moved / "access.log").read_bytes() == b"1\n"
    assert path.read_bytes() == b"2\n"
    moved.joinpath("access.log").unlink()
    moved.rmdir()


def test_where_reopen_fails_the_old_file_stays(file: LogFile, path: Path, clock: Clock, events: list[LogEvent]) -> None:
    old = path.rename(path.with_suffix(".1"))
    path.mkdir()
    file.write(b"1\n")
    file.reopen()
    file.write(b"2\n")
    clock.advance(1)
    assert old.read_bytes() == b"1\n2\n"
    ((level, text),) = said(events)
    assert level == "error"
    assert text.startswith(f"{path} cannot be reopened, the old file stays in use: [Errno 21] Is a directory")
    path.rmdir()
    file.reopen()
    file.write(b"3\n")
    file.flush()
    assert path.read_bytes() == b"3\n"


def test_an_error_of_closing_is_only_told(
    file: LogFile, path: Path, events: list[LogEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    close = os.close

    def failing(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    file.write(b"1\n")
    monkeypatch.setattr(os, "close", failing)
    file.reopen()
    monkeypatch.undo()
    file.write_at_once(b"2\n")
    assert path.read_bytes() == b"1\n2\n"
    assert [(event["log_level"].name, str(event["error"])) for event in events] == [
        ("error", "[Errno 5] Input/output error")
    ]


def test_reopen_opens_nothing_before_open_or_after_close(path: Path, clock: Clock) -> None:
    file = LogFile(str(path), clock)
    file.reopen()
    assert not path.exists()
    file.open()
    file.close()
    path.unlink()
    file.reopen()
    assert not path.exists()


# ---------------------------------------------------------------- what cannot be written


def test_a_full_disk_loses_lines_and_says_so_once(
    path: Path, clock: Clock, events: list[LogEvent], tmp_path: Path
) -> None:
    path.symlink_to("/dev/full")
    file = LogFile(str(path), clock)
    file.open()
    file.write(b"1\n")
    file.write(b"2\n")
    clock.advance(1)
    assert file.lost_lines == 2
    file.write(b"3\n")
    clock.advance(1)
    file.write_at_once(b"4\n")
    assert file.lost_lines == 4
    assert clock.getDelayedCalls() == []
    path.unlink()
    file.reopen()
    assert said(events) == [("error", f"{path} cannot be written, lines are lost: [Errno 28] No space left on device")]
    file.write(b"5\n")
    clock.advance(1)
    file.write(b"6\n")
    file.close()
    assert path.read_bytes() == b"5\n6\n"
    assert said(events)[1:] == [("warn", f"{path} can be written again; 4 lines are lost")]


def test_each_time_the_lines_lost_since_the_last_are_told(path: Path, clock: Clock, events: list[LogEvent]) -> None:
    file = LogFile(str(path), clock)
    path.symlink_to("/dev/full")
    file.open()
    for lost in (1, 3):
        for line in numbered(lost, 10):
            file.write(line)
        file.flush()
        path.unlink()
        file.reopen()
        file.write_at_once(b"!\n")
        path.unlink()
        path.symlink_to("/dev/full")
        file.reopen()
    file.close()
    assert file.lost_lines == 4
    assert [event["lost"] for event in events if event["log_level"] is LogLevel.warn] == [1, 3]
    assert len(events) == 4


def test_a_line_torn_by_a_full_disk_is_ended_before_the_next(file: LogFile, path: Path, events: list[LogEvent]) -> None:
    lines = numbered(4, 40)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        for line in lines:
            file.write(line)
        file.flush()
        file.write_at_once(b"lost\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"".join(lines)[:100]
    assert file.lost_lines == 3
    file.write(b"next\n")
    file.flush()
    assert path.read_bytes() == b"".join(lines)[:100] + b"\nnext\n"
    assert [level for level, _ in said(events)] == ["error", "warn"]


def test_a_reader_that_is_gone_loses_lines(pipe: tuple[int, int], clock: Clock, events: list[LogEvent]) -> None:
    reading, writing = pipe
    file = LogFile(STANDARD_OUTPUT, clock, writing)
    file.open()
    file.write_at_once(b"1\n")
    assert os.read(reading, 100) == b"1\n"
    os.close(reading)
    file.write(b"2\n")
    clock.advance(1)
    file.write_at_once(b"3\n")
    file.close()
    assert file.lost_lines == 2
    assert said(events) == [("error", "- cannot be written, lines are lost: [Errno 32] Broken pipe")]


def test_a_standard_output_that_was_closed_loses_lines(clock: Clock, events: list[LogEvent]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    file = LogFile(STANDARD_OUTPUT, clock, writing)
    file.open()
    file.write_at_once(b"1\n")
    assert file.lost_lines == 1
    assert said(events) == [("error", "- cannot be written, lines are lost: [Errno 9] Bad file descriptor")]


# ---------------------------------------------------------------- the standard output


def test_the_standard_output_is_never_closed(pipe: tuple[int, int], clock: Clock) -> None:
    reading, writing = pipe
    file = LogFile(STANDARD_OUTPUT, clock, writing)
    file.open()
    file.write(b"1\n")
    file.reopen()
    file.write(b"2\n")
    file.close()
    file.write_at_once(b"3\n")
    assert os.read(reading, 100) == b"1\n2\n3\n"
    os.fstat(writing)
    assert repr(file) == "<LogFile - open waiting=0 lost_lines=0>"


def test_the_standard_output_may_be_a_regular_file(path: Path, clock: Clock) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    file = LogFile(STANDARD_OUTPUT, clock, descriptor)
    file.open()
    lines = numbered(1000, 100)
    for line in lines:
        file.write(line)
    file.close()
    os.close(descriptor)
    assert path.read_bytes() == b"".join(lines)


def test_a_pipe_that_is_full_does_not_block(pipe: tuple[int, int], clock: Clock, events: list[LogEvent]) -> None:
    reading, writing = pipe
    flags = fcntl.fcntl(writing, fcntl.F_GETFL)
    file = LogFile(STANDARD_OUTPUT, clock, writing)
    file.open()
    lines = numbered(3000, 100)
    for line in lines:
        file.write(line)
    assert len(clock.getDelayedCalls()) == 1
    read = read_all(reading)
    assert 0 < len(read) < 300_000
    assert read.endswith(b"\n")
    for _ in range(20):
        clock.advance(FULL_SECONDS)
        some = read_all(reading)
        assert some.endswith(b"\n") or not some
        read += some
    assert read == b"".join(lines)
    assert clock.getDelayedCalls() == []
    assert fcntl.fcntl(writing, fcntl.F_GETFL) == flags
    assert (file.lost_lines, events) == (0, [])


def test_writes_to_a_pipe_are_whole_lines_that_it_takes_at_once(
    pipe: tuple[int, int], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, writing = pipe
    pieces: list[bytes] = []
    write = os.write

    def noted(descriptor: int, data: memoryview) -> int:
        pieces.append(bytes(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", noted)
    file = LogFile(STANDARD_OUTPUT, clock, writing)
    file.open()
    for line in numbered(150, 100):
        file.write(line)
    file.flush()
    monkeypatch.undo()
    assert [len(piece) for piece in pieces] == [4000, 4000, 4000, 3000]
    assert all(piece.endswith(b"\n") for piece in pieces)


def test_a_pipe_that_nobody_reads_loses_the_newest_lines(
    pipe: tuple[int, int], clock: Clock, events: list[LogEvent]
) -> None:
    reading, writing = pipe
    file = LogFile(STANDARD_OUTPUT, clock, writing)
    file.open()
    lines = numbered(LIMIT // 1024 + 1000, 1024)
    for line in lines:
        file.write(line)
        clock.advance(0.001)
    assert said(events) == [("error", "- cannot be written, lines are lost: nobody takes what is written")]
    file.write_at_once(b"y" * FLUSH_SIZE + b"\n")
    read = read_all(reading)
    for _ in range(200):
        clock.advance(FULL_SECONDS)
        read += read_all(reading)
    assert LIMIT <= len(read) <= LIMIT + 2 * FLUSH_SIZE
    kept = len(read) // 1024
    assert read == b"".join(lines[:kept])
    assert file.lost_lines == len(lines) - kept + 1
    assert said(events)[1:] == [("warn", f"- can be written again; {file.lost_lines} lines are lost")]
    assert clock.getDelayedCalls() == []


def test_lines_that_come_before_open_are_limited_too(path: Path, clock: Clock, events: list[LogEvent]) -> None:
    file = LogFile(str(path), clock)
    for line in numbered(2000, 1024):
        file.write(line)
    file.write_at_once(b"2\n")
    file.open()
    file.close()
    assert path.read_bytes() == b"".join(numbered(1024, 1024))
    assert file.lost_lines == 2000 - 1024 + 1
    assert [level for level, _ in said(events)] == ["error", "warn"]


def test_close_does_not_wait_for_a_full_pipe(pipe: tuple[int, int], clock: Clock, events: list[LogEvent]) -> None:
    reading, writing = pipe
    file = LogFile(STANDARD_OUTPUT, clock, writing)
    file.open()
    for line in numbered(1000, 100):
        file.write(line)
    file.close()
    assert clock.getDelayedCalls() == []
    read = read_all(reading)
    assert read.count(b"\n") + file.lost_lines == 1000
    assert said(events) == [("error", "- cannot be written, lines are lost: it was closed before all was written")]


def test_a_write_that_would_block_is_tried_again(
    pipe: tuple[int, int], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = pipe
    file = LogFile(STANDARD_OUTPUT, clock, writing)
    file.open()

    def refusing(descriptor: int, data: memoryview) -> int:
        raise BlockingIOError(errno.EAGAIN, "again")

    monkeypatch.setattr(os, "write", refusing)
    file.write_at_once(b"1\n")
    monkeypatch.undo()
    assert read_all(reading) == b""
    clock.advance(FULL_SECONDS)
    assert read_all(reading) == b"1\n"
    assert file.lost_lines == 0


# ---------------------------------------------------------------- no line is torn


@pytest.fixture
def fifo(path: Path) -> Iterator[int]:
    """A FIFO at the path, and who reads it."""
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield reading
    os.close(reading)


def test_a_long_line_passes_through_a_full_pipe_in_pieces(fifo: int, path: Path, clock: Clock) -> None:
    file = LogFile(str(path), clock)
    file.open()
    lines = numbered(30, 3 * PIPE_BUF + 5)
    for line in lines:
        file.write(line)
    read = b""
    while clock.getDelayedCalls():
        read += os.read(fifo, 10_000)
        clock.advance(FULL_SECONDS)
    read += read_all(fifo)
    assert read == b"".join(lines)
    file.close()


def test_reopen_leaves_the_rest_of_a_torn_line_behind(fifo: int, path: Path, clock: Clock) -> None:
    file = LogFile(str(path), clock)
    file.open()
    lines = numbered(3, 20 * PIPE_BUF)
    for line in lines:
        file.write(line)
    read = read_all(fifo)
    assert 0 < len(read) < len(lines[0])
    path.rename(path.with_suffix(".1"))
    # There is room in the old pipe again, and it takes the rest of the first line and a part of the second.
    file.reopen()
    file.close()
    read += read_all(fifo)
    assert lines[0] < read == (lines[0] + lines[1])[: len(read)]
    assert path.read_bytes() == lines[2]
    assert file.lost_lines == 1


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(1, 9000)),
            st.tuples(st.just("write_at_once"), st.integers(1, 9000)),
            st.tuples(st.just("read"), st.integers(1, 100_000)),
            st.tuples(st.just("advance"), st.integers(1, 2000)),
        ),
        max_size=60,
    )
)
def test_whenever_the_reader_reads_it_gets_every_line_in_order(steps: list[tuple[str, int]]) -> None:
    clock = Clock()
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BUF)
    os.set_blocking(reading, False)
    file = LogFile(STANDARD_OUTPUT, clock, writing)
    file.open()
    written = read = b""
    actions: dict[str, Callable[[bytes], None]] = {"write": file.write, "write_at_once": file.write_at_once}
    for at, (step, size) in enumerate(steps):
        if step in actions:
            line = b"%d" % at * size + b"\n"
            actions[step](line)
            written += line
        elif step == "advance":
            clock.advance(size / 1000)
        elif select.select([reading], [], [], 0)[0]:
            read += os.read(reading, size)
    clock.advance(1)
    read += read_all(reading)
    while clock.getDelayedCalls():
        clock.advance(FULL_SECONDS)
        read += read_all(reading)
    os.close(reading)
    os.close(writing)
    assert read == written
    assert file.lost_lines == 0
