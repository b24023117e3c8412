"""
What the benchmark makes of what it read: a goal in microseconds is held against the speed at which it was set.

How fast anything is, is not for a test to say.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.bench import appending, frame_cost
from tests.bench.__main__ import FULL
from tests.bench.figures import Figure, Row
from tests.bench.stage import Loop, NowaitNullAdapter, Operation, Records, Store
from tests.bench.yardstick import CHECKPOINT_US, TRIP_US, at_goals_speed, between, checkpoint_us


def figure(row: Row, columns: Sequence[str], column: str) -> Figure:
    found = dict(zip(columns, row.figures, strict=True))[column]
    assert found is not None
    return found


def sent(loop: Loop, *, added: float, checkpoint: float) -> Row:
    """The row of a table of `send` in spans, memory journal, with one round."""
    case = frame_cost.Case(Operation.SEND, NowaitNullAdapter(), loop, 1, Store.MEMORY, Records.SPANS)
    return frame_cost.row(case, [frame_cost.Reading(bare=0.5, session=0.5 + added, checkpoint=checkpoint)])


def test_what_took_as_long_as_a_step_takes_what_the_step_takes_where_the_goals_were_set() -> None:
    assert at_goals_speed(7.5, 7.5, 3.3) == pytest.approx(3.3)


def test_what_took_twice_as_long_as_a_step_does_so_where_the_goals_were_set() -> None:
    assert at_goals_speed(15, 7.5, 3.3) == pytest.approx(6.6)


async def test_a_step_is_read_directly_before_and_directly_after_and_both_count() -> None:
    steps = iter([3.0, 5.0])
    happened = []

    async def step() -> float:
        happened.append("step")
        return next(steps)

    async def read() -> str:
        happened.append("read")
        return "reading"

    assert await between(step, read) == ("reading", 4.0)
    assert happened == ["step", "read", "step"]


async def test_a_checkpoint_takes_cpu() -> None:
    assert await checkpoint_us() > 0


@pytest.mark.parametrize("sessions", FULL.sessions)
def test_a_paced_reading_has_frames_enough_for_a_p99(sessions: int) -> None:
    assert sessions * FULL.paced_frames(sessions) >= 500


@pytest.mark.parametrize("loop", Loop)
def test_a_send_is_judged_at_the_goals_speed_on_a_slow_machine(loop: Loop) -> None:
    row = sent(loop, added=15, checkpoint=2 * CHECKPOINT_US[loop])

    raw = figure(row, frame_cost.COLUMNS, "added µs")
    judged = figure(row, frame_cost.COLUMNS, "added µs at goals' speed")
    assert raw.median == pytest.approx(15)
    assert raw.verdict is None
    assert judged.median == pytest.approx(7.5)
    assert (str(judged.goal), judged.verdict) == ("≤ 8", "reached")


@pytest.mark.parametrize("loop", Loop)
def test_a_send_is_judged_at_the_goals_speed_on_a_fast_machine(loop: Loop) -> None:
    row = sent(loop, added=5, checkpoint=CHECKPOINT_US[loop] / 2)

    judged = figure(row, frame_cost.COLUMNS, "added µs at goals' speed")
    assert judged.median == pytest.approx(10)
    assert judged.verdict == "not reached"


@pytest.mark.parametrize("rounds", [[(16, 2), (8, 1)], [(8, 1), (16, 2), (24, 3)]])
def test_each_round_goes_by_the_speed_of_its_own_moment(rounds: list[tuple[float, float]]) -> None:
    case = frame_cost.Case(Operation.SEND, NowaitNullAdapter(), Loop.ASYNCIO, 1, Store.MEMORY, Records.SPANS)
    readings = [
        frame_cost.Reading(bare=1, session=us + 1, checkpoint=slower * CHECKPOINT_US[Loop.ASYNCIO])
        for us, slower in rounds
    ]

    judged = figure(frame_cost.row(case, readings), frame_cost.COLUMNS, "added µs at goals' speed")

    assert judged.readings == pytest.approx([8] * len(rounds))


@pytest.mark.parametrize("loop", Loop)
@pytest.mark.parametrize("slower, verdict", [(2, "reached"), (0.5, "not reached")])
def test_an_append_without_storage_is_judged_at_the_goals_speed(
    loop: Loop, slower: float, verdict: str
) -> None:
    waits = appending.Waits(raw=400, raw_ten=500, trip=slower * TRIP_US[loop], unstored=100, one=600, ten=800)

    row = next(each for each in appending.rows(loop, [waits]) if each.label.startswith("no storage"))

    raw = figure(row, appending.COLUMNS, "p50 µs")
    judged = figure(row, appending.COLUMNS, "p50 µs at goals' speed")
    assert (raw.median, raw.verdict) == (100, None)
    assert judged.median == pytest.approx(100 / slower)
    assert judged.verdict == verdict
