"""Limits, steered on a service with one worker."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.test_service import fixture as fixture
from tests.test_service import worker
from tests.test_steering import Steered
from tests.test_steering import steered as steered
from twistedproxy.access.limits.spending import Used
from twistedproxy.control.steering import CannotBeDone
from twistedproxy.control.types import Inquiry
from twistedproxy.limits.clearing import Spender

FILE = '[[limits.tables]]\nname = "guests"\nper = "client"\nconnections = 2\ndaily = "1GiB"\n'


@pytest_twisted.ensureDeferred
async def test_who_is_limited(steered: Steered) -> None:
    steering = steered.steering
    nothing = await steering.limits(5, "")
    assert (nothing.limits, nothing.shares, nothing.day_ends) == ([], [], 0.0)
    steered.file.write_text(FILE)
    await steering.reload()
    restraint = worker(steered.service).plane.restraint
    share = restraint._ledgers["guests"].share("127.0.0.1", 0.0)
    share.begin(1, False)
    share.use(1 << 29)
    restraint.refused(share.limit)
    told = await steering.limits(5, "guests")
    (limit,), (one,) = told.limits, told.shares
    assert (limit.connections, limit.daily, limit.refusals, limit.requests_per_second) == (2, 1 << 30, 1, 0.0)
    assert (one.key, one.connections, one.today, one.taken) == ("127.0.0.1", 1, 1 << 29, 0.5)
    assert told.day_ends > steered.service.started
    assert (await steering.limits(5, "others")).limits == []
    assert (await steering.status()).statistics.limit_refusals == {"guests": 1}
    share.begin(2, False)
    explained = await steering.explain(Inquiry("http://127.0.0.1/"))
    assert explained.requests[0].reason == "connections_exceeded"
    share.end(1, False)
    share.end(2, False)


@pytest_twisted.ensureDeferred
async def test_somebody_begins_anew(steered: Steered) -> None:
    steering = steered.steering
    with pytest.raises(CannotBeDone, match="there is no limit guests"):
        await steering.refill("guests", "")
    steered.file.write_text(FILE)
    await steering.reload()
    keeper = steered.service.workforce.keeper
    keeper.clearing.learned(Spender("guests", "127.0.0.1"), Used(5, 5))
    await steering.refill("guests", "127.0.0.1")
    assert keeper.clearing.used(Spender("guests", "127.0.0.1")) == Used()
