"""An hour of restarts, whatever goes wrong in it: the dials are bounded, and nothing is lost in silence."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_async import RealtimeSessionSidecar
from realtime_async.ports import RealtimeRestartReason
from realtime_async.testing.clock import BACKENDS, run_virtual
from tests.an_hour import HOUR_S, POLICY, Hour, Trouble, Weather
from tests.controller.staged import plain_sidecar

Reason = RealtimeRestartReason


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """Render no log line: an hour has thousands, and nobody reads them."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


on_both = pytest.mark.parametrize("backend", BACKENDS)

PLAIN = plain_sidecar()
SPANNED = RealtimeSessionSidecar.voice_defaults("desk")


def passed(hour: Hour, sidecar: RealtimeSessionSidecar, backend: str) -> None:
    """Let it pass, and see that everything is accounted for."""

    async def run() -> None:
        await hour.run(sidecar)
        assert await hour.violations() == []

    run_virtual(run, backend=backend)
    delivery = hour.session.delivery
    assert delivery.queued == 0
    assert delivery.accepted == delivery.sent + delivery.failed + delivery.dropped + delivery.in_doubt
    # The signals and the results of tools are frames, too.
    assert delivery.accepted + delivery.refused >= len(hour.given)
    assert hour.executed == hour.asked
    assert len(set(hour.executed)) == len(hour.executed)


@on_both
@pytest.mark.parametrize("sidecar", [PLAIN, SPANNED], ids=["plain", "spanned"])
def test_an_hour_with_a_restart_every_nine_minutes_three_outages_and_a_stall(
    sidecar: RealtimeSessionSidecar, backend: str
) -> None:
    outages = [Trouble(at, Weather.OUTAGE, 3) for at in (400.0, 1500.0, 2600.0)]
    hour = Hour([*outages, Trouble(2900, Weather.STALL)])

    passed(hour, sidecar, backend)

    reasons = Counter(report.reason for report in hour.reports)
    assert hour.exhausted is None
    assert reasons[Reason.CONNECTION_LOST] == 3
    assert reasons[Reason.STALLED] == 1
    # The clock of the age starts anew with every connection: at 400, 1500 and 2600 s, and with the stall.
    assert reasons[Reason.AGE] == 5
    assert hour.dials == 1 + 3 * 4 + 1 + 5
    assert [report.attempts for report in hour.reports if report.reason is Reason.CONNECTION_LOST] == [4] * 3
    assert hour.ended_at == pytest.approx(HOUR_S, abs=1)


troubles = st.builds(
    Trouble,
    st.floats(1, HOUR_S - 1).map(lambda at_s: round(at_s, 1)),
    st.sampled_from(Weather),
    st.integers(1, 5),
)


@on_both
@settings(max_examples=6)
@given(weather=st.lists(troubles, max_size=12), sidecar=st.sampled_from([PLAIN, SPANNED]))
def test_whatever_the_hour_brings_the_dials_are_bounded_and_the_totals_add_up(
    backend: str, weather: list[Trouble], sidecar: RealtimeSessionSidecar
) -> None:
    hour = Hour(weather)

    passed(hour, sidecar, backend)

    assert POLICY.max_connection_age_s is not None
    by_age = math.ceil(HOUR_S / POLICY.max_connection_age_s)
    assert hour.dials <= 1 + by_age + sum(trouble.dials for trouble in weather)
    if hour.exhausted is None:
        assert hour.ended_at >= HOUR_S


@on_both
@pytest.mark.parametrize("at_s", [5.0, 700.0])
def test_a_provider_that_never_comes_back_is_given_up(at_s: float, backend: str) -> None:
    hour = Hour([Trouble(at_s, Weather.OUTAGE, 1000)])

    passed(hour, SPANNED, backend)

    assert hour.exhausted is not None
    assert hour.dials == 1 + (at_s > 540) + POLICY.attempts
    assert len(hour.exhausted.frames) == hour.session.delivery.dropped
    assert hour.ended_at < at_s + POLICY.attempts * POLICY.max_wait_s
