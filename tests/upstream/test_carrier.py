"""Both kinds of carriers are what an exchange takes them for."""

from __future__ import annotations

import inspect

import pytest

from twistedproxy.upstream.carrier import Carrier
from twistedproxy.upstream.http1 import UpstreamConnection
from twistedproxy.upstream.http2_stream import UpstreamStream

METHODS = {name: method for name, method in inspect.getmembers(Carrier, inspect.isfunction) if name[0] != "_"}


def test_there_is_something_to_compare() -> None:
    assert {"send_head", "send_content", "send_end", "flush", "pause", "resume", "abandon", "detach"} == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", [UpstreamConnection, UpstreamStream])
def test_a_method_takes_the_same(kind: type, name: str) -> None:
    assert list(inspect.signature(getattr(kind, name)).parameters) == list(inspect.signature(METHODS[name]).parameters)
