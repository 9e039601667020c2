"""Where an authority is kept: whole or not at all, for one user, by several processes at once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from tests.tls.certificates import pem_of
from tests.tls.conftest import Make
from twistedproxy.tls.authority import AuthorityError, make_authority
from twistedproxy.tls.authority_files import (
    CERTIFICATE_FILES,
    KEY_FILE,
    existing_authority,
    files_of,
    make_private,
    operators_authority,
    own_authority,
    renew_authority,
    write_file,
)

# What a worker does, as soon as it is told to.
WORKER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from twistedproxy.tls.authority_files import own_authority
print("ready", flush=True)
sys.stdin.read()
print(own_authority(Path(sys.argv[1]), datetime.now(UTC)).fingerprint)
"""


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


ALL = {KEY_FILE: 0o600, **dict.fromkeys(CERTIFICATE_FILES, 0o644)}


@pytest.mark.parametrize("umask", [0, 0o077])
def test_made_on_first_need(directory: Path, now: datetime, umask: int) -> None:
    directory.parent.mkdir()
    before = os.umask(umask)
    try:
        made = own_authority(directory, now)
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert modes(directory) == ALL
    assert sorted(files_of(directory)) == sorted(str(directory / name) for name in ALL)
    assert own_authority(directory, now).fingerprint == made.fingerprint
    assert (directory / KEY_FILE).read_bytes() == made.private_pem()
    assert (directory / "twistedproxy-ca-cert.cer").read_bytes() == made.export("der")
    assert (directory / "twistedproxy-ca-cert.pem").read_bytes() == made.export("pem")


def test_nothing_is_made_by_looking(directory: Path) -> None:
    assert existing_authority(directory) is None
    assert not directory.parent.exists()


def test_several_processes_make_one(directory: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(directory)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin
        worker.stdin.close()
        worker.stdin = None
    said = {worker.communicate(timeout=50)[0] for worker in workers}
    assert len(said) == 1
    assert [worker.returncode for worker in workers] == [0] * 4
    assert modes(directory) == ALL


@pytest.mark.parametrize("name", CERTIFICATE_FILES)
@pytest.mark.parametrize("content", [None, b"", b"garbage", "another"])
def test_what_was_left_undone_is_done(directory: Path, now: datetime, name: str, content: bytes | str | None) -> None:
    made = own_authority(directory, now)
    if content is None:
        (directory / name).unlink()
    else:
        other = make_authority(now).export(CERTIFICATE_FILES[name])
        (directory / name).write_bytes(other if isinstance(content, str) else content)
    own_authority(directory, now)
    given = (directory / name).read_bytes()
    if name.endswith("p12"):
        held = pkcs12.load_pkcs12(given, None)
        assert [one.certificate for one in held.additional_certs] == [made.certificate]
    else:
        assert given == made.export(CERTIFICATE_FILES[name])


def test_what_is_current_is_left_alone(directory: Path, now: datetime) -> None:
    own_authority(directory, now)
    before = {path: path.stat().st_ino for path in directory.iterdir()}
    own_authority(directory, now)
    assert {path: path.stat().st_ino for path in directory.iterdir()} == before


def test_what_a_process_left_that_ended_goes(directory: Path, now: datetime) -> None:
    own_authority(directory, now)
    (directory / ".new-key").write_bytes(b"half a key")
    own_authority(directory, now)
    assert modes(directory) == ALL


def test_failed_writing_leaves_nothing(directory: Path, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(AuthorityError, match=f"{directory}: No space left on device"):
        own_authority(directory, now)
    assert list(directory.iterdir()) == []
    monkeypatch.undo()
    assert own_authority(directory, now)


def test_content_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"one", 0o600)
    with open(path, "rb") as reading:
        write_file(path, b"two", 0o644, durable=False)
        assert reading.read() == b"one"
    assert path.read_bytes() == b"two"
    assert modes(tmp_path) == {"file": 0o644}


# ---------------------------------------------------------------- renewal


def test_renewal(directory: Path, now: datetime) -> None:
    old = own_authority(directory, now)
    texts = {name: (directory / name).read_bytes() for name in ALL}
    new = renew_authority(directory, now)
    assert new.fingerprint != old.fingerprint
    assert new.certificate.public_key() != old.certificate.public_key()
    assert own_authority(directory, now).fingerprint == new.fingerprint
    suffix = f"{now:%Y%m%dT%H%M%SZ}"
    assert modes(directory) == ALL | {f"{name}.{suffix}": mode for name, mode in ALL.items()}
    assert {name: (directory / f"{name}.{suffix}").read_bytes() for name in ALL} == texts
    renew_authority(directory, now)
    assert (directory / f"{KEY_FILE}.{suffix}-2").read_bytes() == new.private_pem()


def test_renewal_of_none(directory: Path, now: datetime) -> None:
    assert renew_authority(directory, now)
    assert modes(directory) == ALL


def test_renewal_of_one_that_is_broken(directory: Path, now: datetime) -> None:
    own_authority(directory, now)
    (directory / KEY_FILE).write_bytes(b"garbage")
    with pytest.raises(AuthorityError, match=f"{directory / KEY_FILE}: it has no private key"):
        own_authority(directory, now)
    assert renew_authority(directory, now)
    assert existing_authority(directory)


# ---------------------------------------------------------------- who may read


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_key_that_others_may_use(directory: Path, now: datetime, mode: int) -> None:
    own_authority(directory, now)
    path = directory / KEY_FILE
    path.chmod(mode)
    for look in (lambda: own_authority(directory, now), lambda: existing_authority(directory)):
        with pytest.raises(AuthorityError) as refused:
            look()
        assert str(refused.value) == (
            f"{path} has a private key that other users can read (mode {mode:04o}, owner {os.geteuid()}): "
            f"it may be known to them. If it is not: chmod 600 {path}"
        )
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_directory_that_others_may_write_to(directory: Path, now: datetime) -> None:
    own_authority(directory, now)
    directory.chmod(0o770)
    with pytest.raises(AuthorityError, match=f"other users may write to {directory}: chmod 700 it"):
        own_authority(directory, now)


def test_another_users_directory(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.mkdir(parents=True)
    if directory.stat().st_uid == 0:
        os.chown(directory, 65532, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 65532)
    with pytest.raises(AuthorityError, match="other users may write to"):
        make_private(directory)


def test_operators_file(tmp_path: Path, issue: Make) -> None:
    path = tmp_path / "authority.pem"
    key, certificate = issue("root", (x509.BasicConstraints(True, None), True))
    path.write_bytes(pem_of(key, certificate))
    for mode in (0o600, 0o400, 0o440, 0o640):
        path.chmod(mode)
        assert operators_authority(path).certificate == certificate
    for mode in (0o604, 0o644, 0o660):
        path.chmod(mode)
        with pytest.raises(AuthorityError, match="has a private key that other users can read"):
            operators_authority(path)


def test_operators_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match=f"^{tmp_path}/none: No such file or directory$"):
        operators_authority(tmp_path / "none")
    with pytest.raises(AuthorityError, match=f"^{tmp_path} is no regular file$"):
        operators_authority(tmp_path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(AuthorityError, match="fifo is no regular file"):
        operators_authority(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b" " * (2**20 + 1))
    (tmp_path / "large").chmod(0o600)
    with pytest.raises(AuthorityError, match="large is too large for a key and its certificates"):
        operators_authority(tmp_path / "large")
    (tmp_path / "wrong").write_bytes(b"text")
    (tmp_path / "wrong").chmod(0o600)
    with pytest.raises(AuthorityError, match=f"^{tmp_path}/wrong: it has no private key$"):
        operators_authority(tmp_path / "wrong")


def test_directory_that_cannot_be_made(tmp_path: Path, now: datetime) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AuthorityError, match=f"^{tmp_path}/file/ca: Not a directory$"):
        own_authority(tmp_path / "file" / "ca", now)


def test_one_that_has_ended_is_still_there(directory: Path, now: datetime) -> None:
    own_authority(directory, now - timedelta(days=4000))
    found = existing_authority(directory)
    assert found
    assert found.days_left(now) == -348
