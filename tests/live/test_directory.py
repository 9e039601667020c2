"""A real directory: who is found there, that names are nothing but names, and what is said when it cannot be asked."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import trustme
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred

from tests.live.command import run
from tests.live.daemon import Daemon, awaited
from tests.live.origin import Origin
from tests.live.slapd import PEOPLE, SERVICE, SUFFIX, Slapd
from tests.live.test_accounts import CURL, STATUS
from twistedproxy.accounts.directory import DirectoryAccounts, DirectoryUnavailable, Found
from twistedproxy.settings.directories import Directory
from twistedproxy.settings.upstream_tls import UpstreamTLSSettings
from twistedproxy.tls.client_side import ClientSide
from twistedproxy.tls.trust import Trust

BY_NAME = {"dn": f"uid={{name}},{PEOPLE}"}
BY_SEARCH = {"base": PEOPLE, "service_dn": SERVICE, "service_password_file": "/x"}
WAYS = [BY_NAME, BY_SEARCH, {"base": PEOPLE}]
ANN = Found(b"ann", frozenset(["staff", "admins"]))

HOSTILE = [
    "*",
    "ann)(uid=*",
    "*)(|(uid=*",
    "ann,ou=people",
    f"ann,{PEOPLE}",
    "ann+cn=ann",
    "ann\\",
    "\\61nn",
    "\\2a",
    '"ann"',
    "ann;",
    "<ann>",
    "=",
    "a=b",
    "#616e6e",
    "ann#",
    "(&)",
    "a*n",
    "{name}",
    "{dn}",
    "ann/x",
    "ü" * 100,
    "x" * 255,
]


@pytest.fixture(scope="module")
def slapd() -> Iterator[Slapd]:
    started = Slapd()
    started.people({name: f"password of {name}" for name in HOSTILE if len(name) < 100})
    yield started
    started.stop()


class Asked:
    """A directory, asked with the real reactor."""

    def __init__(
        self, slapd: Slapd, url: str = "", *, password: bytes = b"service", trust: str = "", **more: Any
    ) -> None:
        settings = {"url": url or slapd.secured_url, **({} if "dn" in more or "base" in more else BY_NAME), **more}
        trusted = Trust.of(UpstreamTLSSettings(anchors=(trust or str(slapd.anchors),), system_anchors=False))
        self.known = DirectoryAccounts(Directory(**settings), ClientSide(trusted), password)

    def find(self, name: bytes, password: bytes) -> Deferred[Found]:
        from twisted.internet import reactor

        return self.known.find(reactor, name, password)


accounts = Asked


@pytest.mark.parametrize("way", WAYS)
@pytest_twisted.ensureDeferred
async def test_names_and_passwords(slapd: Slapd, way: dict[str, Any]) -> None:
    known = accounts(slapd, **way)
    for _ in range(2):
        assert await known.find(b"ann", b"secret") == ANN
        assert await known.find(b"bob", b"word") == Found(b"bob", frozenset(["staff"]))
        for name, password in ((b"ann", b"guess"), (b"nobody", b"secret"), (b"ann", b"\xff\xfe"), (b"bob", b"secret")):
            with pytest.raises(UnauthorizedLogin):
                await known.find(name, password)
    assert repr(known.known) == f"<DirectoryAccounts {slapd.secured_url}>"


@pytest.mark.parametrize("way", WAYS)
@pytest_twisted.ensureDeferred
async def test_an_empty_password_is_no_password(slapd: Slapd, way: dict[str, Any]) -> None:
    """RFC 4513 section 5.1.2: with one a bind would succeed. Nobody is asked."""
    known = accounts(slapd, "ldap://127.0.0.1:1", **way)
    with pytest.raises(UnauthorizedLogin):
        await known.find(b"ann", b"")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("spelling", ["ANN", "Ann", "aNN", "\uff41nn"])
@pytest_twisted.ensureDeferred
async def test_the_name_is_the_directorys(slapd: Slapd, way: dict[str, Any], spelling: str) -> None:
    """Rules tell names apart by each letter, directories do not."""
    try:
        found = await accounts(slapd, **way).find(spelling.encode(), b"secret")
    except UnauthorizedLogin:
        return
    assert found == ANN


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", HOSTILE)
@pytest_twisted.ensureDeferred
async def test_names_are_nothing_but_names(slapd: Slapd, way: dict[str, Any], name: str) -> None:
    known = accounts(slapd, **way)
    for password in (b"secret", b"word", b"service"):
        with pytest.raises(UnauthorizedLogin):
            await known.find(name.encode(), password)
    if len(name) < 100:
        assert (await known.find(name.encode(), f"password of {name}".encode())).name == name.encode()


@pytest.mark.parametrize("name", [b"ann\0", b" ann", b"ann ", b"ann\r\n", b"a:b", b"", b"ann\xc2\xad"])
@pytest_twisted.ensureDeferred
async def test_what_is_no_name_is_not_asked_for(slapd: Slapd, name: bytes) -> None:
    with pytest.raises(UnauthorizedLogin):
        await accounts(slapd, "ldap://127.0.0.1:1").find(name, b"secret")


@pytest.mark.parametrize("way", WAYS)
@pytest_twisted.ensureDeferred
async def test_groups_that_are_searched_for(slapd: Slapd, way: dict[str, Any]) -> None:
    """A group whose name is more than one word cannot be named anywhere, and is left out."""
    settings = way | {"group_base": f"ou=groups,{SUFFIX}"}
    assert await accounts(slapd, **settings).find(b"ann", b"secret") == ANN
    by_name = settings | {"group_filter": "(member=uid={name},ou=people,dc=example,dc=org)"}
    assert await accounts(slapd, **by_name).find(b"ann", b"secret") == ANN


@pytest_twisted.ensureDeferred
async def test_an_entry_with_several_names(slapd: Slapd) -> None:
    slapd.people({"carol": "secret"}, mail=["c@example.org", "carol@example.org"])
    known = accounts(slapd, base=PEOPLE, filter="(|(uid={name})(mail={name}))")
    assert (await known.find(b"c@example.org", b"secret")).name == b"carol"
    by_mail = accounts(slapd, base=PEOPLE, filter="(mail={name})", name_attribute="mail")
    assert (await by_mail.find(b"C@example.org", b"secret")).name == b"c@example.org"
    other = accounts(slapd, base=PEOPLE, filter="(uid={name})", name_attribute="mail")
    with pytest.raises(UnauthorizedLogin):
        await other.find(b"carol", b"secret")
    none = accounts(slapd, base=PEOPLE, name_attribute="title")
    with pytest.raises(DirectoryUnavailable, match="has no name that can be read"):
        await none.find(b"ann", b"secret")
    with pytest.raises(UnauthorizedLogin):
        await accounts(slapd, base=PEOPLE, filter="(|(uid={name})(sn=x))").find(b"ann", b"secret")


# ---------------------------------------------------------------- TLS


@pytest_twisted.ensureDeferred
async def test_starttls(slapd: Slapd) -> None:
    assert await accounts(slapd, slapd.url).find(b"ann", b"secret") == ANN


@pytest_twisted.ensureDeferred
async def test_without_tls_where_that_is_said(slapd: Slapd) -> None:
    assert await accounts(slapd, slapd.url, plain=True).find(b"ann", b"secret") == ANN


@pytest.mark.parametrize("kind", ["url", "secured_url"])
@pytest_twisted.ensureDeferred
async def test_a_directory_that_cannot_prove_who_it_is(slapd: Slapd, kind: str, tmp_path: Path) -> None:
    """Nobody's password is said to it."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with pytest.raises(DirectoryUnavailable) as raised:
        await accounts(slapd, getattr(slapd, kind), trust=str(other)).find(b"ann", b"secret")
    assert str(raised.value).startswith(f"{getattr(slapd, kind)}: ")
    named = getattr(slapd, kind).replace("127.0.0.1", "127.0.0.2")
    with pytest.raises(DirectoryUnavailable):
        await accounts(slapd, named).find(b"ann", b"secret")


# ---------------------------------------------------------------- when it cannot be asked


@pytest_twisted.ensureDeferred
async def test_nobody_listens(slapd: Slapd) -> None:
    with pytest.raises(DirectoryUnavailable, match=r"\Aldap://127\.0\.0\.1:1: .*refused"):
        await accounts(slapd, "ldap://127.0.0.1:1", plain=True).find(b"ann", b"secret")


@pytest_twisted.ensureDeferred
async def test_it_does_not_answer(slapd: Slapd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("ldap", "ldaps"):
            url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
            for plain in (True, False):
                with pytest.raises(DirectoryUnavailable, match=f"{url}: it took longer than 1 s"):
                    await accounts(slapd, url, plain=plain, timeout=1).find(b"ann", b"secret")


@pytest_twisted.ensureDeferred
async def test_the_services_password_is_wrong(slapd: Slapd) -> None:
    known = accounts(slapd, password=b"other", **BY_SEARCH)
    with pytest.raises(DirectoryUnavailable, match=f"the password of {SERVICE} is wrong"):
        await known.find(b"ann", b"secret")


@pytest_twisted.ensureDeferred
async def test_entries_that_cannot_be_read(slapd: Slapd) -> None:
    """Whose account it is would be what was typed."""
    known = accounts(slapd, dn=f"uid={{name}},ou=hidden,{SUFFIX}")
    with pytest.raises(UnauthorizedLogin):
        await known.find(b"eve", b"guess")
    with pytest.raises(DirectoryUnavailable):
        await known.find(b"eve", b"secret")


@pytest_twisted.ensureDeferred
async def test_it_is_started_again_and_hangs() -> None:
    slapd = Slapd()
    try:
        known = accounts(slapd, timeout=1)
        assert await known.find(b"ann", b"secret") == ANN
        slapd.end()
        with pytest.raises(DirectoryUnavailable, match="refused"):
            await known.find(b"ann", b"secret")
        slapd.start()
        assert await known.find(b"ann", b"secret") == ANN
        slapd.signal(signal.SIGSTOP)
        with pytest.raises(DirectoryUnavailable, match="it took longer than 1 s"):
            await known.find(b"ann", b"secret")
        slapd.signal(signal.SIGCONT)
        assert await known.find(b"ann", b"secret") == ANN
    finally:
        slapd.stop()


# ---------------------------------------------------------------- a proxy


@pytest.mark.parametrize("count", [1, 2])
def test_a_proxy_that_asks_it(tmp_path: Path, origin: Origin, count: int) -> None:
    slapd = Slapd()
    file = f"""
[service]
workers = {count}
[accounts]
required = true
slow_down = 0
cache_ttl = 0
[[accounts.ldap]]
url = "{slapd.secured_url}"
anchors = "{slapd.anchors}"
dn = "uid={{name}},{PEOPLE}"
timeout = 2
[[access.rules]]
action = "deny"
not_groups = ["admins"]
[log]
format = "json"
access = "{tmp_path}/access.log"
"""
    proxy = Daemon(tmp_path, file=file).start()
    url = origin.url("http")

    def status(credentials: str) -> str:
        words = ("--proxy-user", credentials, "--proxy-basic", *STATUS, "--proxy", proxy.url, url)
        return run(tmp_path, *CURL, *words).stdout.decode()[:3]

    try:
        assert [status(one) for one in ("ann:secret", "ANN:secret", "bob:word")] == ["200", "200", "403"]
        assert [status(one) for one in ("ann:guess", "ann:", "eve:secret", "*:secret")] == ["407"] * 4
        names = awaited(lambda: [json.loads(line)["user"] for line in proxy.access_lines(7)], "the log")
        assert sorted(names) == sorted(["ann", "ann", "bob", "ann", "ann", "eve", "*"])
        slapd.end()
        assert status("ann:secret") == "503"
        proxy.await_log(f"error .*a directory could not be asked: {slapd.secured_url}: .*refused")
        slapd.start()
        assert status("ann:secret") == "200"
    finally:
        proxy.stop()
        slapd.stop()
