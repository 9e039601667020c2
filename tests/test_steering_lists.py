"""The lists of what is blocked, steered on a service with one worker."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted

from tests.conftest import LoggedErrors
from tests.test_service import fixture as fixture
from tests.test_service import worker
from tests.test_steering import Steered
from tests.test_steering import steered as steered
from twistedproxy.control.steering import CannotBeDone
from twistedproxy.control.types import Finding


@pytest.fixture
def ads(steered: Steered, tmp_path: Path) -> Path:
    """A list in a file, in the settings."""
    path = tmp_path / "ads.txt"
    path.write_text("a.example\n||b.example/x\n")
    steered.file.write_text(f'[[blocklists.lists]]\nname = "ads"\ncategory = "advertising"\nsource = "{path}"\n')
    return path


def blocks(steered: Steered, host: str) -> str:
    """The list by which the worker blocks ``host``."""
    lists = worker(steered.service).plane.snapshot.blocklists
    found = lists.judge(host) if lists is not None else None
    return found.list if found is not None else ""


@pytest_twisted.ensureDeferred
async def test_a_reload_brings_lists_and_takes_them_away(steered: Steered, ads: Path) -> None:
    steering = steered.steering
    assert steering.blocklists().lists == []
    await steering.reload()
    assert blocks(steered, "a.example") == "ads"
    (state,) = steering.blocklists().lists
    assert (state.names, state.rules) == (1, 1)
    assert (await steering.status()).blocklists == [state]
    assert steering.test_lists("x.a.example") == Finding("x.a.example", True, "ads", "advertising", "a.example")
    assert steering.test_lists("http://b.example/x/y") == Finding(
        "http://b.example/x/y", True, "ads", "advertising", "b.example/x"
    )
    assert steering.test_lists("http://b.example/") == Finding("http://b.example/", False)
    steered.file.write_text("")
    await steering.reload()
    assert worker(steered.service).plane.snapshot.blocklists is None


@pytest_twisted.ensureDeferred
async def test_a_reload_that_fails_keeps_the_lists(steered: Steered, ads: Path, logged_errors: LoggedErrors) -> None:
    await steered.steering.reload()
    image = steered.service.lists.orders().lists[0].image
    steered.file.write_text(steered.file.read_text().replace("ads.txt", "gone.txt"))
    with pytest.raises(CannotBeDone, match=r"^the list ads: .*/gone\.txt: No such file or directory$"):
        await steered.steering.reload()
    assert blocks(steered, "a.example") == "ads"
    assert steered.service.lists.orders().lists[0].image == image
    assert len(logged_errors.flush_messages()) == 2


@pytest_twisted.ensureDeferred
async def test_a_refresh_reaches_the_worker(steered: Steered, ads: Path) -> None:
    await steered.steering.reload()
    ads.write_text("c.example\n")
    assert await steered.steering.refresh_lists("", False) == ["ads"]
    assert (blocks(steered, "a.example"), blocks(steered, "c.example")) == ("", "ads")
    with pytest.raises(CannotBeDone, match="there is no list other"):
        await steered.steering.refresh_lists("other", False)


@pytest_twisted.ensureDeferred
async def test_own_entries_are_in_effect_when_it_is_done(steered: Steered, ads: Path) -> None:
    steering = steered.steering
    await steering.reload()
    assert await steering.edit_list("own.example", allow=False, there=True)
    assert blocks(steered, "own.example") == "local"
    assert await steering.edit_list("a.example", allow=True, there=True)
    assert blocks(steered, "a.example") == ""
    assert not await steering.edit_list("a.example", allow=True, there=True)
    assert await steering.edit_list("a.example", allow=True, there=False)
    assert blocks(steered, "a.example") == "ads"
    with pytest.raises(CannotBeDone, match="neither a host"):
        await steering.edit_list("/", allow=False, there=True)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("a b", "neither a host nor a URL"),
        ("ftp://a.example/", "scheme"),
        ("http://é/", "in ASCII"),
        ("http:///", "empty"),
    ],
)
def test_what_is_no_target(steered: Steered, target: str, why: str) -> None:
    with pytest.raises(CannotBeDone, match=why):
        steered.steering.test_lists(target)
