"""What an origin can know of a client, byte by byte, under each profile; and what comes back."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.live.command import curl, run
from tests.live.daemon import PATIENCE
from tests.live.fetch import connected
from tests.live.intercepting import Intercepting, started
from tests.live.origin import Authority, Origin

PROFILES = ("off", "standard", "strict")

ANSWER = b"""\
HTTP/1.1 200 OK
Date: Fri, 15 Jan 2027 08:00:00 GMT
Content-Length: 2
Set-Cookie: id=alice-1
Set-Cookie: seen=alice-2
ETag: "alice-3"
Last-Modified: Thu, 14 Jan 2027 08:00:07 GMT
Accept-CH: Sec-CH-UA-Model
Critical-CH: Sec-CH-UA-Model
NEL: {"report_to":"spy"}
Report-To: {"group":"spy"}
Connection: close

ok""".replace(b"\n", b"\r\n")


class RecordingOrigin:
    """An origin that keeps the very bytes of the requests it gets, and gives them all the same answer."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            peer, _ = self._listener.accept()
            with peer:
                peer.settimeout(PATIENCE)
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    received = peer.recv(65536)
                    if not received:
                        break
                    head += received
                if not head:
                    return
                self.heads.append(head)
                peer.sendall(ANSWER)

    def stop(self) -> None:
        """End it, by a connection that says nothing."""
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._listener.close()


@pytest.fixture
def recording() -> Iterator[RecordingOrigin]:
    origin = RecordingOrigin()
    yield origin
    origin.stop()


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[dict[str, Intercepting]]:
    """A proxy for each profile, which looks into tunnels too."""
    settings = {"privacy__except_hosts": "localhost", "forwarding__via": "proxy.test", "http2__with_servers": "always"}
    daemons = [
        started(tmp_path_factory.mktemp(name), authority, privacy__profile=name, **settings) for name in PROFILES
    ]
    yield {name: Intercepting(daemon) for name, daemon in zip(PROFILES, daemons, strict=True)}
    for daemon in daemons:
        daemon.stop()


def lines(text: str) -> list[str]:
    return text.strip("\n").split("\n")


def exchanged(proxy: Intercepting, origin: RecordingOrigin, fields: list[str], start: str = "") -> tuple[str, str]:
    """The request as the origin has got it and the head of the answer as the client has, each without line ends."""
    where = f"127.0.0.1:{origin.port}"
    start = start or f"GET http://{where}/p?a=%20&utm_source=alice&fbclid=alice&b HTTP/1.1"
    said = "\r\n".join((start, f"Host: {where}", *fields, "", "")).encode()
    connection = connected(proxy.daemon, said)
    answer = connection.read_through(b"\r\n\r\nok")
    connection.close()
    head = origin.heads[-1].decode()
    return head.replace("\r\n", "\n").replace(where, "ORIGIN"), answer.decode().replace("\r\n", "\n")


WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"

# A page of another site lets a browser load a picture, through a proxy before this one.
BROWSER = lines(f"""
User-Agent: Mozilla/5.0 (X11; Ubuntu; Linux x86_64) {WEBKIT} Chrome/130.0.6723.91 Safari/537.36
sec-ch-ua: "Chromium";v="130", "Not?A_Brand";v="99"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
sec-ch-ua-model: "alice's laptop"
sec-ch-ua-full-version-list: "Chromium";v="130.0.6723.91"
Device-Memory: 8
DNT: 1
Accept: image/avif,image/webp,*/*;q=0.8
Referer: http://news.example/alice?q=1
Accept-Encoding: gzip, deflate
Accept-Language: de-CH,de;q=0.9,rm;q=0.8
Cookie: id=alice
If-None-Match: "alice"
If-Modified-Since: Thu, 14 Jan 2027 08:00:07 GMT
X-Forwarded-For: 10.0.0.7
Forwarded: for=10.0.0.7
X-Real-IP: 10.0.0.7
From: alice@example.com
X-Requested-With: com.example.alice
Via: 1.1 alices-router
Proxy-Authorization: Basic YWxpY2U6YWxpY2U=
Proxy-Connection: keep-alive
""")

REDUCED = f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/130.0.0.0 Safari/537.36"

SEEN_BY_ORIGIN = {
    "off": [
        "GET /p?a=%20&utm_source=alice&fbclid=alice&b HTTP/1.1",
        "Host: ORIGIN",
        *BROWSER[:-2],
        "Via: 1.1 proxy.test",
    ],
    "standard": lines(f"""
GET /p?a=%20&b HTTP/1.1
Host: ORIGIN
User-Agent: {REDUCED}
sec-ch-ua: "Chromium";v="130", "Not?A_Brand";v="99"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
DNT: 1
Accept: image/avif,image/webp,*/*;q=0.8
Referer: http://news.example/
Accept-Encoding: gzip, deflate
Accept-Language: de-CH
If-None-Match: "alice"
If-Modified-Since: Thu, 14 Jan 2027 08:00:07 GMT
Via: 1.1 alices-router
Via: 1.1 proxy.test
"""),
    "strict": lines(f"""
GET /p?a=%20&b HTTP/1.1
Host: ORIGIN
User-Agent: {REDUCED}
Accept: image/avif,image/webp,*/*;q=0.8
Accept-Encoding: gzip, deflate
Accept-Language: de
"""),
}

SEEN_BY_CLIENT = {
    "off": lines("""
HTTP/1.1 200 OK
Date: Fri, 15 Jan 2027 08:00:00 GMT
Set-Cookie: id=alice-1
Set-Cookie: seen=alice-2
ETag: "alice-3"
Last-Modified: Thu, 14 Jan 2027 08:00:07 GMT
Accept-CH: Sec-CH-UA-Model
Critical-CH: Sec-CH-UA-Model
NEL: {"report_to":"spy"}
Report-To: {"group":"spy"}
Content-Length: 2
Via: 1.1 proxy.test
"""),
    "standard": lines("""
HTTP/1.1 200 OK
Date: Fri, 15 Jan 2027 08:00:00 GMT
ETag: "alice-3"
Last-Modified: Thu, 14 Jan 2027 08:00:07 GMT
NEL: {"report_to":"spy"}
Report-To: {"group":"spy"}
Content-Length: 2
Via: 1.1 proxy.test
"""),
    "strict": lines("""
HTTP/1.1 200 OK
Date: Fri, 15 Jan 2027 08:00:00 GMT
Content-Length: 2
"""),
}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_byte_of_a_browser(proxies: dict[str, Intercepting], recording: RecordingOrigin, profile: str) -> None:
    request, answer = exchanged(proxies[profile], recording, BROWSER)
    assert request.split("\n") == [*SEEN_BY_ORIGIN[profile], "", ""]
    assert answer.split("\n") == [*SEEN_BY_CLIENT[profile], "", "ok"]


FIRST_PARTY = lines("""
Referer: http://ORIGIN/page?utm_source=alice&q=1
Cookie: id=alice
Authorization: Basic YWxpY2U6YWxpY2U=
""")


@pytest.mark.parametrize("profile", PROFILES)
def test_first_party_goes_on(proxies: dict[str, Intercepting], recording: RecordingOrigin, profile: str) -> None:
    """A page's own cookies pass, and who somebody has said to be."""
    fields = [line.replace("ORIGIN", f"127.0.0.1:{recording.port}") for line in FIRST_PARTY]
    request, answer = exchanged(proxies[profile], recording, fields)
    kept = FIRST_PARTY if profile == "off" else [FIRST_PARTY[0].replace("utm_source=alice&", ""), *FIRST_PARTY[1:]]
    via = [] if profile == "strict" else ["Via: 1.1 proxy.test"]
    assert request.split("\n")[2:-2] == [*kept, *via]
    assert "Set-Cookie: id=alice-1\nSet-Cookie: seen=alice-2\nETag" in answer


WEBSOCKET = lines("""
Connection: Upgrade
Upgrade: websocket
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==
Sec-WebSocket-Extensions: permessage-deflate
Origin: http://news.example
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0.1
Cookie: id=alice
X-Client-IP: 10.0.0.7
""")


@pytest.mark.parametrize("profile", PROFILES)
def test_websocket_handshake(proxies: dict[str, Intercepting], recording: RecordingOrigin, profile: str) -> None:
    request, _ = exchanged(proxies[profile], recording, WEBSOCKET)
    line = request.partition("\n")[0]
    seen = set(request.split("\n")[2:-2])
    upgrade = {*WEBSOCKET[2:6], "Upgrade: websocket", "Connection: Upgrade"}
    if profile == "off":
        assert seen == {*upgrade, *WEBSOCKET[6:], "Via: 1.1 proxy.test"}
        assert "utm_source" in line
    else:
        agent = WEBSOCKET[6].replace("131.0.1", "131.0")
        assert seen == {*upgrade, agent} | (set() if profile == "strict" else {"Via: 1.1 proxy.test"})
        assert line == "GET /p?a=%20&b HTTP/1.1"


@pytest.mark.parametrize("profile", PROFILES)
def test_curl(proxies: dict[str, Intercepting], recording: RecordingOrigin, profile: str, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{recording.port}/?gclid=alice"
    assert curl(tmp_path, "--proxy", proxies[profile].url, url) == b"ok"
    version = re.match(r"curl ([0-9]+)([0-9.]+)", run(tmp_path, "curl", "--version").stdout.decode())
    assert version is not None
    agent = (version[1] + (version[2] if profile == "off" else "")).encode()
    assert recording.heads == [
        b"GET /%b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: curl/%b\r\nAccept: */*\r\n%b\r\n"
        % (
            b"?gclid=alice" if profile == "off" else b"",
            recording.port,
            agent,
            b"" if profile == "strict" else b"Via: 1.1 proxy.test\r\n",
        )
    ]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("scheme", ["https", "h2"])
def test_intercepted(proxies: dict[str, Intercepting], origin: Origin, profile: str, http2: bool, scheme: str) -> None:
    """Inside tunnels, and whichever version of HTTP is spoken on either side."""
    proxy = proxies[profile]
    context = ssl.create_default_context(cafile=str(proxy.file))
    given = {
        "User-Agent": "tool/7.2.9 (alice)",
        "X-Forwarded-For": "10.0.0.7",
        "CF-Connecting-IP": "10.0.0.7",
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Dest": "image",
        "Referer": "https://news.example/alice",
        "Cookie": "id=alice",
        "Accept-Language": "rm-CH,de;q=0.5",
    }
    with httpx.Client(
        http1=not http2, http2=http2, proxy=proxy.url, verify=context, trust_env=False, timeout=PATIENCE
    ) as client:
        answer: Any = client.get(origin.url(scheme, "/request?fbclid=alice&a=1"), headers=given)
    assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    seen = json.dumps(answer.json())
    assert ("alice" in seen, "10.0.0.7" in seen) == ((True, True) if profile == "off" else (False, False))
    for name, value in {
        "off": {"user-agent": "tool/7.2.9 (alice)", "accept-language": "rm-CH,de;q=0.5", "cookie": "id=alice"},
        "standard": {"user-agent": "tool/7", "accept-language": "rm-CH", "referer": "https://news.example/"},
        "strict": {"user-agent": "tool/7", "accept-language": "rm"},
    }[profile].items():
        assert value in seen, name
    assert ("proxy.test" in seen) == (profile != "strict")


@pytest.mark.parametrize("profile", PROFILES)
def test_what_the_log_tells(proxies: dict[str, Intercepting], recording: RecordingOrigin, profile: str) -> None:
    proxy = proxies[profile]
    before = len(proxy.entries())
    exchanged(proxy, recording, BROWSER)
    (entry,) = proxy.await_entries(1, before)
    assert entry["client_address"] == ("127.0.0.0" if profile == "strict" else "127.0.0.1")
    assert (entry["client_port"] > 0) == (profile != "strict")
    query = "?a=%20&utm_source=alice&fbclid=alice&b" if profile == "off" else ""
    assert entry["url"] == f"http://127.0.0.1:{recording.port}/p{query}"
    assert entry["referer"] == "http://news.example/alice" + ("?q=1" if profile == "off" else "")


def test_an_excepted_host(proxies: dict[str, Intercepting], recording: RecordingOrigin, tmp_path: Path) -> None:
    url = f"http://localhost:{recording.port}/?gclid=1"
    curl(tmp_path, "--proxy", proxies["standard"].url, "--user-agent", "tool/1.2.3", "--cookie", "a=b", url)
    assert b"GET /?gclid=1 HTTP/1.1" in recording.heads[0]
    assert b"User-Agent: tool/1.2.3\r\n" in recording.heads[0]


def test_source_address(make_daemon: Any) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    daemon = make_daemon(settings={"upstream.source_address": "127.0.0.7"}).start()
    connection = connected(
        daemon, f"GET http://127.0.0.1:{listener.getsockname()[1]}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    )
    peer, (source, _) = listener.accept()
    assert source == "127.0.0.7"
    for one in (peer, listener, connection):
        one.close()
