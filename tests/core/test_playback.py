"""What of an answer was heard."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_async.errors import ContractViolation
from realtime_async.ports import AudioFormat, HeardItem, PlaybackLedger, heard_items, heard_text

MS = AudioFormat().bytes_per_second // 1000


def test_items_are_heard_one_after_the_other() -> None:
    heard = heard_items([("first", 1000.0), ("second", 500.0), ("third", 300.0)], 1200)

    assert heard == [
        HeardItem("first", 1000, 1000),
        HeardItem("second", 200, 500),
        HeardItem("third", 0, 300),
    ]


@given(
    st.lists(st.tuples(st.text(), st.floats(0, 10_000)), max_size=5),
    st.floats(-1000, 100_000),
)
def test_no_more_is_heard_than_was_received_nor_than_was_played(
    received: list[tuple[str, float]], played_ms: float
) -> None:
    heard = heard_items(received, played_ms)

    assert [item.item_id for item in heard] == [item_id for item_id, _ in received]
    assert all(0 <= item.heard_ms <= item.received_ms for item in heard)
    assert sum(item.heard_ms for item in heard) <= max(0.0, played_ms)


@pytest.mark.parametrize(
    "heard_ms, text",
    [
        (1000, "A table for two is booked."),
        (2000, "A table for two is booked."),
        (600, "A table for two"),
        (500, "A table for"),
        (300, "A table"),
        (10, ""),
        (0, ""),
        (-5, ""),
    ],
)
def test_a_word_that_was_cut_off_counts_as_unheard(heard_ms: int, text: str) -> None:
    assert heard_text("A table for two is booked.", heard_ms, 1000) == text


def test_an_answer_is_heard_as_far_as_it_was_played() -> None:
    ledger = PlaybackLedger()
    ledger.take("answer.1", 400 * MS)
    ledger.take("answer.1", 200 * MS)

    ledger.play(450 * MS)

    assert ledger.current == "answer.1"
    assert ledger.played_ms() == ledger.played_ms("answer.1") == 450
    assert ledger.waiting_ms == 150


def test_an_answer_without_an_id_is_the_current_one_until_the_next_is_heard() -> None:
    ledger = PlaybackLedger()
    ledger.take(None, 100 * MS)
    ledger.take("answer.2", 300 * MS)

    ledger.play(100 * MS)

    assert ledger.current is None
    assert ledger.played_ms() == ledger.stop() == 100


def test_the_next_answer_is_heard_after_the_one_before() -> None:
    ledger = PlaybackLedger()
    ledger.take("answer.1", 100 * MS)
    ledger.take("answer.2", 300 * MS)

    ledger.play(150 * MS)

    assert ledger.current == "answer.2"
    assert ledger.played_ms("answer.1") == 100
    assert ledger.played_ms() == 50


def test_who_falls_silent_learns_how_much_was_heard_and_has_nothing_left_to_play() -> None:
    ledger = PlaybackLedger()
    ledger.take(None, 300 * MS)
    ledger.play(120 * MS)

    assert ledger.stop() == 120
    assert ledger.waiting_ms == 0
    ledger.play(50 * MS)
    assert ledger.played_ms() == 120


def test_what_was_never_given_is_not_heard() -> None:
    ledger = PlaybackLedger()
    ledger.play(100)

    assert ledger.is_told
    assert ledger.current is None
    assert ledger.played_ms() == 0
    assert ledger.played_ms("answer.1") == 0


def test_only_the_last_answers_are_remembered() -> None:
    ledger = PlaybackLedger(AudioFormat())

    for number in range(PlaybackLedger.ANSWERS + 1):
        ledger.take(f"answer.{number}", 100 * MS)
        ledger.play(100 * MS)

    assert ledger.played_ms("answer.0") == 0
    assert ledger.played_ms("answer.1") == 100


@pytest.mark.parametrize("size", [-1, 0.5, None, True, "960"], ids=repr)
def test_what_cannot_have_been_heard_is_not_counted(size: Any) -> None:
    ledger = PlaybackLedger()
    ledger.take("answer", 100 * MS)

    with pytest.raises(ContractViolation, match="whole number"):
        ledger.play(size)

    assert not ledger.is_told
    assert ledger.played_ms() == 0


@pytest.mark.parametrize("audio_format", [None, "pcm16"])
def test_a_ledger_needs_a_format(audio_format: Any) -> None:
    with pytest.raises(ContractViolation, match="give an AudioFormat"):
        PlaybackLedger(audio_format)


def test_an_answer_that_was_heard_to_its_end_is_the_current_one_until_more_is_heard() -> None:
    ledger = PlaybackLedger()
    ledger.take("first", 100 * MS)
    ledger.take("second", 100 * MS)

    ledger.play(100 * MS)
    assert ledger.current == "first"
    ledger.play(1)
    assert ledger.current == "second"
