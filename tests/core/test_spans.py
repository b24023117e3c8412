"""What a span reserves, when it is over, and what its extent says."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from realtime_async._core.cursors import CursorLabel, StreamCursor
from realtime_async._core.records import RecordExtent
from realtime_async._core.sidecar import MediaSpan
from realtime_async._core.spans import NO_FRAMES, OpenSpan, first_limit, reserved


def test_a_reservation_is_of_the_frames_that_follow() -> None:
    extent = reserved(StreamCursor.chunk(7), MediaSpan(50, 1.0))

    assert extent == RecordExtent(StreamCursor.chunk(8), StreamCursor.chunk(57), 50)


def test_a_span_without_frames_is_not_over_and_has_no_extent() -> None:
    span = OpenSpan(MediaSpan(1, 0.001), CursorLabel.SEND)

    assert span.over_at > 10.0**9
    assert span.extent() == NO_FRAMES


@given(
    st.lists(st.one_of(st.binary(max_size=20), st.text(max_size=9), st.none()), min_size=1),
    st.integers(1, 99),
)
def test_an_extent_states_what_went(payloads: list[bytes | str | None], first: int) -> None:
    span = OpenSpan(MediaSpan(1000, 1.0), CursorLabel.RECEIVE)
    for number, payload in enumerate(payloads, first):
        span.add(number, payload, 0.0)

    together = b"".join(
        payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else payload or b""
        for payload in payloads
    )
    assert span.extent() == RecordExtent(
        StreamCursor.chunk(first),
        StreamCursor.chunk(first + len(payloads) - 1),
        len(payloads),
        len(together),
        hashlib.sha256(together).hexdigest(),
    )


def test_a_span_is_over_with_its_last_frame_or_its_last_moment() -> None:
    by_frames = OpenSpan(MediaSpan(2, 60.0), CursorLabel.SEND)
    by_time = OpenSpan(MediaSpan(50, 1.0), CursorLabel.SEND)
    for number in (1, 2):
        assert by_frames.over_at > 0.0
        by_frames.add(number, b"", 0.0)
    by_time.add(1, b"", 5.0)

    assert by_frames.over_at <= 0.0
    assert by_time.over_at > 5.9
    assert by_time.over_at <= 6.0


def test_the_first_span_of_the_first_run_is_as_long_as_any() -> None:
    limit = MediaSpan(50, 1.0)

    assert first_limit(limit, 0) == limit


@given(st.integers(0, 2000), st.integers(1, 100), st.floats(0.01, 60.0))
def test_a_first_span_is_never_longer_than_any_other_and_holds_as_many_frames(
    place: int, frames: int, seconds: float
) -> None:
    first = first_limit(MediaSpan(frames, seconds), place)

    assert first.frames == frames
    assert 0 < first.seconds <= seconds


def test_the_first_spans_of_fifty_runs_end_one_after_the_other() -> None:
    ends = [int(first_limit(MediaSpan(50, 1.0), place).seconds / 0.02) for place in range(50)]

    assert max(ends.count(end) for end in ends) <= 3
