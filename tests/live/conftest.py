"""What the live tests start: origins and one proxy for the session, and proxies of a test's own."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.live.wire.raw", "tests.live.wire.wire")

from tests.live.command import run  # noqa: E402  # after the line above
from tests.live.daemon import Daemon, awaited  # noqa: E402  # as above
from tests.live.list_server import ListServer  # noqa: E402  # as above
from tests.live.microsocks import Microsocks  # noqa: E402  # as above
from tests.live.name_server import LiveNameServer  # noqa: E402  # as above
from tests.live.origin import Authority, Origin  # noqa: E402  # as above
from tests.live.parents import ACCOUNTS, NAMES, PASSWORD, USER, Under, settings, sockets  # noqa: E402  # as above
from tests.live.squid import Squid  # noqa: E402  # as above


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The certificate authority of the session's origins."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Origin]:
    """The session's origins."""
    started = Origin(tmp_path_factory.mktemp("origin"), authority.leaf)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def repository(origin: Origin) -> Path:
    """A repository at the origin, with a file of a megabyte that does not compress."""
    path = origin.directory / "project.git"
    work = origin.directory / "project"
    work.mkdir()
    content = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(32 * 1024))
    (work / "content").write_bytes(content)
    git = ("git", "-c", "user.name=me", "-c", "user.email=me@example", "-c", "init.defaultBranch=main")
    run(work, *git, "init", "--quiet")
    run(work, *git, "add", "content")
    run(work, *git, "commit", "--quiet", "--message", "Begin")
    run(work, *git, "clone", "--quiet", "--bare", work, path)
    # Pushing wants somebody who is known, or this.
    run(path, *git, "config", "http.receivepack", "true")
    return path


@pytest.fixture
def names(tmp_path: Path) -> Iterator[LiveNameServer]:
    """A name server that knows no names."""
    server = LiveNameServer(tmp_path / "names")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def squid(authority: Authority) -> Iterator[Squid]:
    """A Squid for requests to go on by."""
    started = Squid(authority.leaf, NAMES, ACCOUNTS)
    yield started
    started.stop()


@pytest.fixture
def own_squid(authority: Authority) -> Iterator[Squid]:
    """A Squid of the test's own."""
    started = Squid(authority.leaf, NAMES, ACCOUNTS)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def microsocks() -> Iterator[Microsocks]:
    """A SOCKS server for connections to go on by, with an account."""
    started = Microsocks(USER, PASSWORD)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def under(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Callable[[str], Under]]:
    """Lets the module's proxy go by other settings; it trusts the session's origins."""
    environment = {"SSL_CERT_FILE": str(authority.file)}
    daemon = Daemon(tmp_path_factory.mktemp("under"), listen=(), file=settings(), environment=environment).start()
    at_rest = sockets(daemon)
    yield lambda text: Under(daemon, text, at_rest)
    daemon.stop()


@pytest.fixture(scope="session")
def shared_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The proxy of all the tests that need no other: it tunnels to every port, and logs as JSON."""
    settings = {"access.connect_ports": "all", "log.format": "json"}
    started = Daemon(tmp_path_factory.mktemp("proxy"), settings=settings).start()
    yield started
    started.stop()


@pytest.fixture
def proxy(shared_proxy: Daemon) -> Iterator[Daemon]:
    """That proxy, for a test that fails unless something has gone through it."""
    before = len(shared_proxy.lines_so_far())
    yield shared_proxy
    # The line of a tunnel comes when both ends have noticed that it is over.
    awaited(lambda: len(shared_proxy.lines_so_far()) > before, "anything that goes through the proxy")


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Makes proxies of the test's own, which are not started yet; those that still run at the end are stopped."""
    made: list[Daemon] = []

    def make(**how: Any) -> Daemon:
        directory = tmp_path / f"proxy-{len(made)}"
        directory.mkdir()
        made.append(Daemon(directory, **how))
        return made[-1]

    yield make
    for daemon in made:
        daemon.stop()


@pytest.fixture
def list_server() -> Iterator[ListServer]:
    server = ListServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def trusting(authority: Authority) -> str:
    """Settings by which nobody vouches for anybody but the session's authority."""
    return f'[upstream_tls]\nsystem_anchors = false\nanchors = ["{authority.file}"]\n'
