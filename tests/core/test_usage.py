"""What answers cost: added up, and nothing but counts."""

from __future__ import annotations

from typing import Any

import pytest

from realtime_async._core.usage import ResponseUsage, UsageTold, countable


def test_what_answers_cost_is_added_up_by_modality() -> None:
    told = UsageTold().plus(ResponseUsage(12, 340, 5, 7, 90)).plus(ResponseUsage(1, 2, 3, 4, 5))

    assert told == UsageTold(2, 0, ResponseUsage(13, 342, 8, 11, 95))


def test_a_modality_of_which_nothing_was_said_is_not_nought() -> None:
    told = UsageTold().plus(ResponseUsage(input_text_tokens=3)).plus(ResponseUsage(output_audio_tokens=0))

    assert told.tokens == ResponseUsage(input_text_tokens=3, output_audio_tokens=0)


def test_an_answer_that_said_nothing_is_counted_as_such() -> None:
    assert UsageTold().plus(countable(None)).plus(countable(ResponseUsage())) == UsageTold(0, 2)


@pytest.mark.parametrize("value", ["mauve-door", 2.0, -1, True, 2**53, [1]])
def test_what_is_no_count_is_left_out(value: Any) -> None:
    assert countable(ResponseUsage(value, 3)) == ResponseUsage(None, 3)
