"""
What becomes of the frames of a caller who goes on speaking while the provider is away.

The outages are as short as the promise allows; `nox -s faults` has them at their real lengths.
"""

from __future__ import annotations

import pytest

from realtime_async.journals import MemoryJournal
from tests.faults.outage import FAULTS, INSTRUCTIONS, Outage, Tale, live_through

# A busy machine may rest for a moment, and must have frames to say before it is over all the same.
AWAY_S = 0.8
# It loses nothing of what was said: what is asked is what becomes of it here.
ROOMY = 500
DROPPING = [fault for fault in FAULTS if fault != "black hole"]


async def told(outage: Outage) -> Tale:
    async with MemoryJournal() as journal:
        tale = await live_through(outage, journal)
    assert tale.lost_by_the_card == []
    assert tale.errors == []
    return tale


@pytest.mark.parametrize("fault", DROPPING)
async def test_a_queue_that_is_large_enough_loses_nothing_and_the_answer_is_given_once(fault: str) -> None:
    outage = Outage(fault, AWAY_S, card_frames=ROOMY)

    tale = await told(outage)

    (report,) = tale.reports
    first, second = tale.heard
    assert (tale.delivery.dropped, tale.delivery.refused, tale.delivery.failed) == (0, 0, 0)
    assert tale.delivery.sent + tale.delivery.in_doubt == outage.frames
    # One frame is in flight at a time.
    assert tale.delivery.in_doubt == len(tale.raised) <= 1
    assert report.unconfirmed == ()
    # The server's own count: the old connection heard the beginning, the new one what was replayed, and all the rest.
    (gated,), (replayed,) = report.gated, report.replayed
    assert first == [*range(1, first[-1] + 1)]
    assert second == [*range(replayed.first, outage.frames + 1)]
    assert replayed.first <= first[-1] + 1
    assert replayed.last + 1 == gated.first
    assert tale.delivery.replayed == replayed.last - replayed.first + 1
    # What else the new connection has to know, and the answer that was owed when the old one died.
    assert tale.instructions == [INSTRUCTIONS, INSTRUCTIONS]
    assert tale.answers == ["completed"]


async def test_a_provider_that_stops_reading_for_a_while_hears_all_of_it_later() -> None:
    outage = Outage("black hole", AWAY_S, card_frames=ROOMY)

    tale = await told(outage)

    assert tale.reports == []
    assert tale.heard == [[*range(1, outage.frames + 1)]]
    assert (tale.delivery.sent, tale.delivery.in_doubt, tale.delivery.replayed) == (outage.frames, 0, 0)


async def test_a_queue_that_is_too_small_loses_what_the_report_says() -> None:
    outage = Outage("reset", AWAY_S, queue_frames=5, card_frames=ROOMY)

    tale = await told(outage)

    (report,) = tale.reports
    missing = {*range(1, outage.frames + 1)}.difference(*tale.heard)
    assert 0 < len(missing) == report.dropped == tale.delivery.dropped
    assert min(missing) > outage.before
    assert tale.delivery.sent + tale.delivery.in_doubt + tale.delivery.dropped == outage.frames
    assert tale.heard[-1] == sorted(tale.heard[-1])
