"""The settings file, its drop-ins, the environment and the command line of a process, read from where they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from twistedproxy.settings.load import Loaded
from twistedproxy.settings.problems import SettingsError
from twistedproxy.settings.sources import Sources
from twistedproxy.settings.syntax import MAX_SIZE
from twistedproxy.settings.types import Settings


def sources(
    path: Path,
    *overrides: tuple[str, str],
    needed: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Sources:
    return Sources(str(path), needed=needed, environment=environment or {}, overrides=overrides)


def refusal(made: Sources, candidate: str | None = None) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        made.load(candidate)
    return str(refused.value).split("\n")


def via(loaded: Loaded) -> tuple[str, str]:
    return loaded.settings.forwarding.via, loaded.sources["forwarding.via"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pyproxy.toml"
    path.write_text("forwarding.via = 'file'\n")
    return path


@pytest.fixture
def drop_ins(tmp_path: Path) -> Path:
    path = tmp_path / "pyproxy.d"
    path.mkdir()
    return path


def test_a_file_is_read_from_the_disk(file: Path) -> None:
    loaded = sources(file).load()
    assert via(loaded) == ("file", f"{file}:1")
    assert loaded.files == (str(file),)


def test_the_later_source_wins(file: Path, drop_ins: Path) -> None:
    ten, nine = drop_ins / "10-site.toml", drop_ins / "9.toml"
    variables = {"PYPROXY_FORWARDING_VIA": "variable", "PYPROXY_PORT": "x", "HOME": "/"}
    assert via(sources(file).load()) == ("file", f"{file}:1")
    ten.write_text("\nforwarding.via = 'ten'")
    assert via(sources(file).load()) == ("ten", f"{ten}:2")
    # By name, not by number.
    nine.write_text("forwarding.via = 'nine'")
    assert via(sources(file).load()) == ("nine", f"{nine}:1")
    loaded = sources(file, environment=variables).load()
    assert via(loaded) == ("variable", "PYPROXY_FORWARDING_VIA")
    assert loaded.files == (str(file), str(ten), str(nine))
    assert loaded.ignored == ("PYPROXY_PORT",)
    assert via(sources(file, ("forwarding.via", "set"), environment=variables).load()) == ("set", "--set")


def test_everything_is_read_anew_each_time(file: Path, drop_ins: Path) -> None:
    environment = {"PYPROXY_LOG_LEVEL": "warn"}
    made = sources(file, environment=environment)
    assert via(made.load()) == ("file", f"{file}:1")
    file.write_text("forwarding.via = 'changed'\n")
    assert via(made.load()) == ("changed", f"{file}:1")
    drop_in = drop_ins / "a.toml"
    drop_in.write_text("forwarding.via = 'new'")
    assert via(made.load()) == ("new", f"{drop_in}:1")
    drop_in.unlink()
    assert via(made.load()) == ("changed", f"{file}:1")
    drop_ins.rmdir()
    assert via(made.load()) == ("changed", f"{file}:1")
    # But the environment is the one that there was at the start.
    environment["PYPROXY_LOG_LEVEL"] = "error"
    assert made.load().settings.log.level == "warn"


@pytest.mark.parametrize(
    ("path", "directory"),
    [
        ("/etc/pyproxy.toml", "/etc/pyproxy.d"),
        ("/etc/a.b/foo.toml", "/etc/a.b/foo.d"),
        ("/etc/a.b/foo", "/etc/a.b/foo.d"),
        ("/etc/foo.conf", "/etc/foo.d"),
        ("/etc/.toml", "/etc/.toml.d"),
        ("/", "/.d"),
    ],
)
def test_the_directory_of_the_drop_ins(path: str, directory: str) -> None:
    assert sources(Path(path)).drop_ins == directory


def test_what_counts_as_a_drop_in(file: Path, drop_ins: Path) -> None:
    for name in (".hidden.toml", "a.toml~", "a.toml.bak", "toml", "a.TOML"):
        (drop_ins / name).write_text("nonsense")
    (drop_ins / "directory.toml").mkdir()
    (drop_ins / "out-of-use.toml").symlink_to("/dev/null")
    os.mkfifo(drop_ins / "pipe.toml")
    (drop_ins / "..data").mkdir()
    (drop_ins / "..data" / "real").write_text("forwarding.via = 'linked'")
    # As Kubernetes mounts them.
    (drop_ins / "link.toml").symlink_to("..data/real")
    loaded = sources(file).load()
    assert via(loaded) == ("linked", f"{drop_ins / 'link.toml'}:1")
    assert loaded.files == (str(file), str(drop_ins / "link.toml"))


def test_a_directory_of_drop_ins_is_not_the_file_itself(tmp_path: Path) -> None:
    file = tmp_path / "settings.d"
    file.write_text("forwarding.via = 'file'")
    assert sources(file).load().files == (str(file),)


# ---------------------------------------------------------------- what is missing or cannot be read


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing.toml", "cannot be read: No such file or directory"),
        (".", "cannot be read: Is a directory"),
        ("large.toml", "larger than 1048576 bytes, the most that settings may have"),
        ("large.toml/x.toml", "cannot be read: Not a directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "large.toml").write_bytes(b"#" * (MAX_SIZE + 1))
    assert refusal(sources(tmp_path / name)) == [f"{tmp_path / name}: {problem}"]


def test_a_name_that_no_file_can_have_is_a_problem() -> None:
    assert refusal(Sources("a\0b", needed=False, environment={})) == ["a\\u0000b: cannot be read: embedded null byte"]


def test_a_file_that_is_not_needed_may_be_missing(tmp_path: Path, drop_ins: Path) -> None:
    file = tmp_path / "pyproxy.toml"
    made = sources(file, needed=False)
    assert made.load() == Loaded(Settings(), made.load().sources)
    assert set(made.load().sources.values()) == {"default"}
    drop_in = drop_ins / "a.toml"
    drop_in.write_text("forwarding.via = 'drop-in'")
    loaded = made.load()
    assert via(loaded) == ("drop-in", f"{drop_in}:1")
    assert loaded.files == (str(drop_in),)


def test_where_there_cannot_be_a_file_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "null").touch()
    assert sources(tmp_path / "null" / "pyproxy.toml", needed=False).load().settings == Settings()


def test_a_file_that_has_been_there_is_missed(file: Path) -> None:
    made = sources(file, needed=False)
    made.load()
    file.unlink()
    assert refusal(made) == [f"{file}: cannot be read: No such file or directory"]


def test_a_directory_in_the_place_of_the_file_is_no_missing_file(tmp_path: Path) -> None:
    # Docker makes one when it is to mount a file that is not there.
    file = tmp_path / "pyproxy.toml"
    file.mkdir()
    assert refusal(sources(file, needed=False)) == [f"{file}: cannot be read: Is a directory"]


def test_a_drop_in_that_cannot_be_read_is_a_problem(file: Path, drop_ins: Path) -> None:
    file.write_text("a = 1")
    dangling, large = drop_ins / "dangling.toml", drop_ins / "large.toml"
    dangling.symlink_to("nowhere")
    large.write_bytes(b"#" * (MAX_SIZE + 1))
    (drop_ins / "z.toml").write_text("z = 1")
    assert refusal(sources(file, ("b", "1"), environment={"PYPROXY_LOG_LEVEL": "3"})) == [
        f"{file}:1: a: unknown key",
        f"{dangling}: cannot be read: No such file or directory",
        f"{large}: larger than 1048576 bytes, the most that settings may have",
        f"{drop_ins / 'z.toml'}:1: z: unknown key",
        ('PYPROXY_LOG_LEVEL: log.level: expected one of "debug", "info", "warn", "error", "critical", got "3"'),
        "--set: b: unknown key",
    ]


def test_drop_ins_in_what_is_no_directory_are_a_problem(file: Path, tmp_path: Path) -> None:
    place = tmp_path / "pyproxy.d"
    place.touch()
    assert refusal(sources(file)) == [f"{place}: cannot be read: Not a directory"]
    place.unlink()
    place.symlink_to("nowhere")
    assert refusal(sources(file)) == [f"{place}: cannot be read: No such file or directory"]


def test_what_may_not_be_read_is_a_problem(file: Path, drop_ins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is forbidden to root, so that the system's answer is given here."""

    def forbidden(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", forbidden)
    assert refusal(sources(file)) == [f"{drop_ins}: cannot be read: Permission denied"]


# ---------------------------------------------------------------- a candidate


def test_a_candidate_stands_in_the_place_of_the_file(file: Path, drop_ins: Path) -> None:
    drop_in = drop_ins / "a.toml"
    drop_in.write_text("upstream.max_idle = 3")
    made = sources(file, ("log.level", "warn"), environment={"PYPROXY_LOG_FORMAT": "json"})
    loaded = made.load("forwarding.via = 'candidate'\nupstream.max_idle = 1\nupstream.max_fields = 2")
    assert via(loaded) == ("candidate", "candidate:1")
    settings = loaded.settings
    assert (settings.upstream.max_idle, settings.upstream.max_fields) == (3, 2)
    assert (settings.log.format, settings.log.level) == ("json", "warn")
    assert loaded.files == ("candidate", str(drop_in))
    # Which has changed nothing.
    assert via(made.load()) == ("file", f"{file}:1")


def test_a_candidate_needs_no_file(tmp_path: Path) -> None:
    made = sources(tmp_path / "pyproxy.toml", needed=False)
    assert via(made.load("forwarding.via = 'candidate'")) == ("candidate", "candidate:1")
    assert made.load("").settings == made.load().settings == Settings()


def test_problems_of_a_candidate_are_its_own(file: Path, drop_ins: Path) -> None:
    (drop_ins / "a.toml").write_text("[downstream]\nmax_head_size = '8KiB'")
    made = sources(file)
    assert refusal(made, "[downstream]\nmax_target_size = '9KiB'\n[log]\nlevl = 1") == [
        'candidate:4: log.levl: unknown key (did you mean "level"?)',
        (
            f"{drop_ins / 'a.toml'}:2: downstream.max_head_size: 8KiB is less than downstream.max_target_size (9KiB, "
            "candidate:2), but a request's target is a part of its head"
        ),
    ]
    assert refusal(made, "x" * (MAX_SIZE + 1))[0].startswith("candidate: larger than")
    assert refusal(made, "via = '\udcff'") == ["candidate:1: not valid UTF-8"]


def test_sources_can_be_looked_at(file: Path) -> None:
    made = sources(file, ("log.level", "warn"), environment={"PYPROXY_LOG_FORMAT": "json", "HOME": "/"})
    assert repr(made) == f"<Sources {file} variables=1 overrides=1>"
