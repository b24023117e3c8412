"""When a task that goes on and on lets the others run."""

from __future__ import annotations

import pytest

from realtime_async._core.stint import CALLS_AT_MOST, SECONDS_AT_MOST, Stint


def over(gap_s: float, calls: int) -> list[int]:
    """Which of *calls* calls, *gap_s* seconds apart, have to wait."""
    stint = Stint()
    return [call for call in range(calls) if stint.is_over(call * gap_s)]


def test_who_has_fallen_behind_lets_the_others_run_as_often_as_time_passes() -> None:
    gap_s = SECONDS_AT_MOST / 4

    assert over(gap_s, 16) == [4, 9, 14]


@pytest.mark.parametrize("gap_s", [0.0, 0.02], ids=["no time passes", "much time passes"])
def test_as_often_as_there_were_so_many_calls_where_time_tells_nothing(gap_s: float) -> None:
    assert over(gap_s, 2 * CALLS_AT_MOST) == [CALLS_AT_MOST - 1, 2 * CALLS_AT_MOST - 1]


def test_a_pause_begins_anew() -> None:
    stint = Stint()
    a_little = SECONDS_AT_MOST / 2

    asked = [stint.is_over(now) for now in (0.0, a_little, 1.0, 1.0 + a_little, 1.0 + 3 * a_little)]

    assert asked == [False, False, False, False, True]


def test_who_waits_for_each_call_has_to_wait_for_nobody_else_but_after_so_many() -> None:
    stint, over = Stint(), []
    for call in range(2 * CALLS_AT_MOST):
        over.append(stint.is_over(2 * call * SECONDS_AT_MOST))
        stint.waited()

    assert [call for call, is_over in enumerate(over) if is_over] == [
        CALLS_AT_MOST - 1,
        2 * CALLS_AT_MOST - 1,
    ]
