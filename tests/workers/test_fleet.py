"""What the daemon asks of its workers, it can ask of any fleet."""

from __future__ import annotations

import inspect

import pytest

from twistedproxy.workers.fleet import Fleet
from twistedproxy.workers.local import LocalWorker
from twistedproxy.workers.supervisor import Supervisor

METHODS = sorted(name for name, member in vars(Fleet).items() if inspect.isfunction(member) and name[0] != "_")


@pytest.mark.parametrize("kind", [LocalWorker, Supervisor])
@pytest.mark.parametrize("name", METHODS)
def test_methods(name: str, kind: type) -> None:
    of_it, wanted = (inspect.signature(getattr(of, name)).parameters for of in (kind, Fleet))
    assert of_it == wanted


def test_all_of_it_says_what_it_does() -> None:
    assert len(METHODS) == 13
    assert [name for name in METHODS if not getattr(Fleet, name).__doc__] == []
