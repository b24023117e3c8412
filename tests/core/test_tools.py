"""Each tool call is executed once at most."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime_async._core.tools import REMEMBERED_CALLS, CallBook


@given(st.lists(st.tuples(st.sampled_from(["begin", "withdraw"]), st.sampled_from("abc")), max_size=30))
def test_a_call_begins_once_and_never_after_it_was_withdrawn(steps: list[tuple[str, str]]) -> None:
    book = CallBook()
    begun: list[str] = []
    seen: set[str] = set()
    for step, call_id in steps:
        if step == "withdraw":
            book.withdraw(call_id)
        elif book.begin(call_id):
            assert call_id not in seen
            begun.append(call_id)
        seen.add(call_id)

    assert len(begun) == len(set(begun))


def test_of_very_many_calls_the_latest_are_remembered() -> None:
    book = CallBook()
    for number in range(2 * REMEMBERED_CALLS):
        book.begin(f"call.{number}")

    again = [number for number in range(2 * REMEMBERED_CALLS) if not book.begin(f"call.{number}")]

    assert len(again) <= REMEMBERED_CALLS
