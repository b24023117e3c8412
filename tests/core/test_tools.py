"""Each tool call is executed once at most, by whichever process."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime_async._core.tools import REMEMBERED_CALLS, CallBook, CallVerdict, call_ref

Verdict = CallVerdict


@given(
    st.sets(st.sampled_from("abc")),
    st.lists(st.tuples(st.sampled_from(["begin", "withdraw"]), st.sampled_from("abc")), max_size=30),
)
def test_a_call_begins_once_and_never_after_it_was_withdrawn_or_begun_elsewhere(
    before: set[str], steps: list[tuple[str, str]]
) -> None:
    book = CallBook(before)
    seen: set[str] = set()
    for step, call in steps:
        if step == "withdraw":
            book.withdraw(call)
        elif call in seen:
            assert book.begin(call) is Verdict.IGNORE
        else:
            assert book.begin(call) is (Verdict.OUTCOME_UNKNOWN if call in before else Verdict.EXECUTE)
        seen.add(call)


def test_of_very_many_calls_the_latest_are_remembered() -> None:
    book = CallBook(f"before.{number}" for number in range(REMEMBERED_CALLS + 1))
    assert book.begin("before.0") is Verdict.EXECUTE, "it is too long ago"
    for number in range(2 * REMEMBERED_CALLS):
        book.begin(f"call.{number}")

    again = [
        number for number in range(2 * REMEMBERED_CALLS) if book.begin(f"call.{number}") is Verdict.IGNORE
    ]

    assert len(again) <= REMEMBERED_CALLS


def test_different_calls_have_different_names() -> None:
    calls = ["call 1", "call.1", "call-1", "call/1", "x" * 400, "x" * 401, ""]

    assert len({call_ref(call) for call in calls}) == len(calls)
