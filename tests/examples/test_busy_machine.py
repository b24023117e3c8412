"""Of what other programs take is given on top no more than they took."""

from __future__ import annotations

import os
import time

import pytest

from tests.examples.busy_machine import BusyMachine, Look, watched_machine

__all__: list[str] = []


def machine(*looks: tuple[float, float, float, float]) -> BusyMachine:
    return BusyMachine([Look(*look) for look in looks])


def test_others_have_taken_their_share_where_no_processor_rested() -> None:
    # Two processors for a second, three quarters of which others had.
    seen = machine((10, 100, 50, 7), (11, 102, 50, 7.5))

    assert seen.taken(10, 11) == pytest.approx(0.75)
    assert seen.taken(10.5, 20) == pytest.approx(0.375)
    assert seen.taken(11, 20) == 0


def test_nobody_waited_where_a_processor_rested() -> None:
    assert machine((10, 100, 50, 7), (11, 101.5, 50.5, 7)).taken(10, 11) == 0


def test_what_this_test_does_itself_was_not_taken_from_it() -> None:
    assert machine((10, 100, 50, 7), (11, 102, 50, 9)).taken(10, 11) == 0


def test_what_was_not_seen_was_not_taken() -> None:
    assert machine().taken(0, 100) == 0


def test_this_process_is_known_among_all() -> None:
    began = time.monotonic()
    with watched_machine() as seen:
        worked_until = time.process_time() + 0.5
        while time.process_time() < worked_until:
            pass
        seen.look()
    ended = time.monotonic()

    assert 0 <= seen.taken(began, ended) <= ended - began - 0.5 / (os.cpu_count() or 1) + 0.1
