"""How fast connections may be opened on one route."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_async._core.dials import DialSlots


def test_a_thousand_at_once_are_spread_in_the_order_in_which_they_asked() -> None:
    slots = DialSlots()

    moments = [slots.take(5.0, per_s=20) for _ in range(1000)]

    assert moments == sorted(moments)
    assert moments[0] == 5.0
    assert moments[-1] == pytest.approx(5.0 + 999 // 20)


@given(st.lists(st.floats(0, 10), max_size=60).map(sorted), st.floats(0.5, 100))
def test_no_second_has_more_dials_than_it_may(asked_at: list[float], per_s: float) -> None:
    slots = DialSlots()

    moments = [slots.take(now, per_s) for now in asked_at]

    assert all(moment >= now for moment, now in zip(moments, asked_at, strict=True))
    assert moments == sorted(moments)
    at_once = max(1, int(per_s))
    assert all(
        later - earlier >= at_once / per_s - 1e-9
        for earlier, later in zip(moments, moments[at_once:], strict=False)
    )


@given(st.lists(st.sampled_from(["take", "leave", "wait"]), max_size=60))
def test_a_moment_that_is_given_back_is_used_by_who_asks_next(steps: list[str]) -> None:
    slots, now, held = DialSlots(), 0.0, list[float]()
    for step in steps:
        if step == "take":
            held.append(slots.take(now, per_s=1))
        elif step == "wait":
            now += 0.5
        elif held and held[-1] > now:
            slots.give_back(held.pop())

    assert len(set(held)) == len(held)
    assert all(later - earlier >= 1 for earlier, later in pairwise(sorted(held)))
    waiting = [moment for moment in held if moment >= now]
    assert slots.take(now, per_s=1) <= now + len(waiting) + 1


def test_a_moment_that_has_passed_is_not_given_out_again() -> None:
    slots = DialSlots()
    slots.give_back(slots.take(0, per_s=1))

    assert slots.take(10, per_s=1) == 10


def test_without_a_limit_all_dial_at_once() -> None:
    slots = DialSlots()

    assert [slots.take(3.0, math.inf) for _ in range(5)] == [3.0] * 5


def test_a_route_is_idle_when_its_last_moment_is_over() -> None:
    slots = DialSlots()
    assert slots.is_idle(0)

    slots.take(0, per_s=0.5)

    assert not slots.is_idle(1.9)
    assert slots.is_idle(2)
