"""What an exchange asks of the client's side, it can ask of either version's."""

from __future__ import annotations

import inspect

import pytest

from twistedproxy.downstream.http1 import DownstreamConnection
from twistedproxy.downstream.http2_stream import RequestStream
from twistedproxy.downstream.opening import InnerConnection
from twistedproxy.downstream_side import Downstream

MEMBERS = {name: member for name, member in vars(Downstream).items() if name[0] != "_"}
METHODS = sorted(name for name, member in MEMBERS.items() if inspect.isfunction(member))
PROPERTIES = sorted(name for name, member in MEMBERS.items() if isinstance(member, property))


@pytest.mark.parametrize("kind", [DownstreamConnection, InnerConnection, RequestStream])
@pytest.mark.parametrize("name", METHODS)
def test_methods(name: str, kind: type) -> None:
    of_it, wanted = (inspect.signature(getattr(of, name)).parameters for of in (kind, Downstream))
    assert list(of_it) == list(wanted)


@pytest.mark.parametrize("kind", [DownstreamConnection, RequestStream])
@pytest.mark.parametrize("name", PROPERTIES)
def test_properties(name: str, kind: type) -> None:
    assert hasattr(kind, name)


def test_all_of_it_says_what_it_does() -> None:
    assert len(METHODS) > 12
    assert [name for name in (*METHODS, *PROPERTIES) if not MEMBERS[name].__doc__] == []
