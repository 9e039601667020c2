"""Keeping lists: from files and URLs, over restarts, and whatever goes wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.blocklists.conftest import NOW, House, settings
from tests.conftest import LoggedErrors
from twistedproxy.access.blocklists.lists import Listed
from twistedproxy.blocklists.files import BlocklistError, ListOrders
from twistedproxy.blocklists.keeper import Keeper, Prepared

Write = Callable[[str, str], str]

URL = "https://lists.test/ads"
FETCHED = f'name = "ads"\nsource = "{URL}"\ncategory = "advertising"'


def result(deferred: Deferred[Any]) -> Any:
    """What ``deferred`` fired with; of a failure the text."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    assert found, "it has not fired"
    return found[0].getErrorMessage() if isinstance(found[0], Failure) else found[0]


def reload(house: House, *tables: str) -> None:
    prepared = result(house.keeper.prepare(settings(*tables)))
    assert isinstance(prepared, Prepared)
    house.keeper.use(prepared)


def test_without_lists_nothing_is_written(house: House) -> None:
    house.start()
    assert house.keeper.orders() == ListOrders()
    assert house.keeper.test("a.example", "", 0, b"") is None
    assert not house.state.exists()
    assert repr(house.keeper) == f"<Keeper of 0 lists in {house.files}>"


def test_a_file_is_used_from_the_start(house: House, write: Write) -> None:
    house.start(write("ads", "a.example\nno list"))
    assert house.keeper.test("x.a.example", "", 0, b"") == Listed("ads", "", "a.example", True)
    (state,) = house.keeper.states()
    assert (state.names, state.lines, state.bad, state.checked, state.error) == (1, 2, 1, NOW, "")
    assert state.next == NOW + 86400
    (order,) = house.keeper.orders().lists
    assert (order.name, os.stat(order.image).st_mode & 0o777) == ("ads", 0o600)


def test_a_start_makes_only_what_has_changed(house: House, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write("ads", "a.example")
    house.start(table)
    image = house.keeper.orders().lists[0].image
    written = os.stat(image).st_mtime_ns
    house.restart(table)
    assert os.stat(house.keeper.orders().lists[0].image).st_mtime_ns == written
    write("ads", "a.example\nb.example")
    house.restart(table)
    assert house.blocks("b.example") == "ads"
    assert not Path(image).exists()


def test_a_file_is_read_again_when_it_has_changed(house: House, write: Write) -> None:
    house.start(write("ads", "a.example") + '\nrefresh = "1h"')
    house.clock.advance(3600)
    assert house.changes == 0
    write("ads", "a.example\nb.example")
    house.clock.advance(3600)
    assert house.changes == 1
    assert house.blocks("b.example") == "ads"
    write("ads", "c.example")
    assert result(house.keeper.refresh("", False)) == ["ads"]
    assert house.blocks("b.example") == ""
    assert house.changes == 2


@pytest.mark.parametrize("wrong", ["", 'name = "x"\nsource = "/nonexistent/x"'])
def test_settings_whose_files_cannot_be_read_are_refused(house: House, write: Write, wrong: str) -> None:
    house.start(write("ads", "a.example"))
    if wrong:
        with pytest.raises(BlocklistError, match=r"^the list x: /nonexistent/x: No such file or directory$"):
            house.keeper.check(settings(wrong))
        why = result(house.keeper.prepare(settings(wrong)))
        assert why == "the list x: /nonexistent/x: No such file or directory"
    assert house.blocks("a.example") == "ads"


def test_other_settings_do_no_harm_until_they_are_in_use(house: House, write: Write) -> None:
    table = write("ads", "0.0.0.0 a.example")
    house.start(table)
    prepared = result(house.keeper.prepare(settings(table + '\nformat = "domains"')))
    assert isinstance(prepared, Prepared)
    assert house.keeper.orders(prepared) != house.keeper.orders()
    assert house.blocks("a.example") == "ads"
    house.keeper.use(prepared)
    assert house.blocks("a.example") == ""


def test_a_list_that_is_gone_is_forgotten(house: House, write: Write) -> None:
    house.start(write("ads", "a.example"), write("more", "b.example"))
    reload(house, write("more", "b.example"))
    reload(house, write("more", "b.example"))
    assert house.blocks("a.example") == ""
    assert house.blocks("b.example") == "more"
    assert {path.name.partition(".")[0] for path in house.files.iterdir()} == {"more", "prime"}


# ---------------------------------------------------------------- URLs


def test_a_url_is_fetched_when_it_starts_and_on_schedule(house: House) -> None:
    house.servers.content[URL] = b"a.example\n"
    house.start(FETCHED)
    assert house.keeper.orders() == ListOrders()
    house.clock.advance(0)
    assert house.changes == 1
    assert house.blocks("a.example") == "ads"
    house.clock.advance(86400)
    assert house.changes == 1
    assert [wish.etag for wish in house.servers.wishes] == ["", f'"{hash(b"a.example" + bytes([10]))}"']
    house.servers.content[URL] = b"b.example\n"
    house.clock.advance(86400)
    assert house.changes == 2
    assert house.blocks("b.example") == "ads"


def test_a_start_without_network_has_the_lists(house: House, logged_errors: LoggedErrors) -> None:
    house.servers.content[URL] = b"a.example\n"
    house.start(FETCHED)
    house.clock.advance(0)
    house.keeper.stop()
    assert house.compile.stopped
    house.servers.content[URL] = "there is no network"
    house.restart(FETCHED)
    assert house.blocks("a.example") == "ads"
    house.clock.advance(86400)
    assert house.blocks("a.example") == "ads"
    (state,) = house.keeper.states()
    assert (state.names, state.error, state.next - NOW) == (1, "there is no network", house.clock.seconds() + 60)
    assert logged_errors.flush_messages() == [
        "the list ads could not be refreshed: there is no network; the last good copy stays in use"
    ]


def test_a_copy_is_compiled_anew_for_other_settings(house: House) -> None:
    house.servers.content[URL] = b"a.example\n"
    house.start(FETCHED)
    house.clock.advance(0)
    house.servers.content[URL] = "there is no network"
    reload(house, FETCHED + "\nsubdomains = false")
    assert house.blocks("a.example") == "ads"
    assert house.blocks("x.a.example") == ""


def test_a_copy_of_another_url_is_of_no_use(house: House) -> None:
    house.servers.content[URL] = b"a.example\n"
    house.start(FETCHED)
    house.clock.advance(0)
    house.servers.content["https://other.test/ads"] = b"b.example\n"
    reload(house, FETCHED.replace("lists.test", "other.test"))
    assert house.blocks("a.example") == ""
    house.clock.advance(0)
    assert house.blocks("b.example") == "ads"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "there is nothing in it that could be understood, in 0 lines"),
        (b"<html>\n<body>login</body>", "there is nothing in it that could be understood, in 2 lines"),
        (b"a.example", "it has shrunk from 10 to 1 entries: pyproxyctl block refresh --force takes it"),
        ("the connection broke off before its end", "the connection broke off before its end"),
    ],
)
def test_what_is_likely_to_be_a_mistake_is_not_used(
    house: House, content: bytes | str, why: str, logged_errors: LoggedErrors
) -> None:
    house.servers.content[URL] = b"".join(b"n%d.example\n" % number for number in range(10))
    house.start(FETCHED)
    house.clock.advance(0)
    house.servers.content[URL] = content
    told = result(house.keeper.refresh("ads", False))
    assert told == f"the list ads: {why}"
    assert house.blocks("n9.example") == "ads"
    assert house.keeper.states()[0].error == why
    assert len(logged_errors.flush_messages()) == 1
    assert not [path for path in house.files.iterdir() if path.name.startswith(".")]
    house.restart(FETCHED)
    assert house.blocks("n9.example") == "ads"


def test_force_takes_what_has_shrunk(house: House) -> None:
    house.servers.content[URL] = b"".join(b"n%d.example\n" % number for number in range(10))
    house.start(FETCHED)
    house.clock.advance(0)
    house.servers.content[URL] = b"a.example\n"
    assert result(house.keeper.refresh("ads", True)) == ["ads"]
    assert house.blocks("n9.example") == ""
    assert house.keeper.states()[0].error == ""


def test_failures_are_tried_again_later_and_later(house: House, logged_errors: LoggedErrors) -> None:
    house.servers.content[URL] = "no"
    house.start(FETCHED)
    house.clock.advance(0)
    times: list[float] = []
    for _ in range(5):
        times.append(house.keeper.states()[0].next - NOW - house.clock.seconds())
        house.clock.advance(times[-1])
    assert times == [60, 300, 900, 3600, 3600]
    assert len(house.servers.wishes) == 6
    why = "the list ads could not be refreshed: no; there is no copy of it yet"
    assert logged_errors.flush_messages() == [why] * 6


def test_a_reload_while_a_list_is_compiled(house: House) -> None:
    house.servers.content[URL] = b"a.example\n"
    house.start(FETCHED)
    house.compile.waits = True
    house.clock.advance(0)
    house.compile.waits = False
    reload(house)
    house.compile.go()
    assert house.changes == 0
    assert house.blocks("a.example") == ""
    assert not [path.name for path in house.files.iterdir() if path.suffix == ".image"]


def test_an_unknown_list_cannot_be_refreshed(house: House) -> None:
    house.start()
    assert result(house.keeper.refresh("ads", False)) == "there is no list ads"


# ---------------------------------------------------------------- the operator's own


def edit(keeper: Keeper, host: str, *, allow: bool = False, there: bool = True) -> object:
    return result(keeper.edit(host, allow=allow, there=there))


def test_own_entries_are_in_effect_at_once_and_kept(house: House, write: Write) -> None:
    table = write("ads", "a.example")
    house.start(table)
    assert edit(house.keeper, "Own.example.") is True
    assert house.changes == 1
    assert house.keeper.test("own.example", "", 0, b"") == Listed("local", "local", "own.example", True)
    assert edit(house.keeper, "own.example") is False
    assert edit(house.keeper, "ok.a.example", allow=True) is True
    assert (house.blocks("a.example"), house.blocks("ok.a.example")) == ("ads", "")
    house.restart(table)
    assert (house.blocks("own.example"), house.blocks("ok.a.example")) == ("local", "")
    assert edit(house.keeper, "own.example", there=False) is True
    assert edit(house.keeper, "own.example", there=False) is False
    assert house.blocks("own.example") == ""
    reload(house, table)
    assert (house.blocks("a.example"), house.blocks("ok.a.example")) == ("ads", "")


def test_what_is_no_host_is_refused(house: House) -> None:
    house.start()
    assert edit(house.keeper, "http://a.example/") == "'http://a.example/': neither a host nor an address"
    assert not house.state.exists()
