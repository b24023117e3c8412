"""Where input frames lie in the session's audio."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_async.adapters.local.timeline import InputTimeline


def test_frames_lie_one_after_the_other() -> None:
    timeline = InputTimeline()

    assert [
        timeline.place(1, 320),
        timeline.place(2, 320),
        timeline.place(3, 160),
        timeline.place(4, 320),
    ] == [
        0,
        320,
        640,
        800,
    ]


def test_a_frame_that_is_no_audio_takes_no_time() -> None:
    timeline = InputTimeline()

    assert [timeline.place(1, 320), timeline.place(2, 0), timeline.place(3, 320)] == [0, 320, 320]


def test_a_replayed_frame_keeps_its_place() -> None:
    timeline = InputTimeline()
    first = [timeline.place(number, number * 10) for number in range(1, 6)]

    assert [timeline.place(number, number * 10) for number in range(1, 6)] == first
    assert timeline.place(6, 60) == 150


def test_a_frame_that_never_came_is_taken_to_be_like_the_one_before() -> None:
    timeline = InputTimeline()
    timeline.place(1, 320)

    assert timeline.place(4, 320) == 960
    assert timeline.place(3, 320) == 640


def test_a_session_that_is_taken_over_begins_with_the_first_frame_seen() -> None:
    timeline = InputTimeline()

    assert timeline.place(700, 320) == 0
    assert (timeline.through(319), timeline.through(320)) == (699, 700)


def test_a_frame_from_before_all_that_is_remembered_is_taken_for_the_oldest() -> None:
    timeline = InputTimeline()
    for number in range(1, 2 * InputTimeline.STRETCHES + 1):
        timeline.place(number, number)

    oldest = timeline.place(InputTimeline.STRETCHES + 1, 0)

    assert oldest > 0
    assert timeline.place(1, 1) == oldest


@pytest.mark.parametrize(
    "sample, number", [(0, 0), (319, 0), (320, 1), (639, 1), (640, 3), (959, 3), (960, 4), (9999, 4)]
)
def test_it_knows_which_frames_lie_before_a_sample(sample: int, number: int) -> None:
    timeline = InputTimeline()
    timeline.place(1, 320)
    timeline.place(2, 320)
    timeline.place(3, 0)
    timeline.place(4, 320)

    assert timeline.through(sample) == number


@given(st.lists(st.sampled_from([0, 160, 320, 320, 320]), min_size=1, max_size=60), st.integers(0, 20_000))
def test_it_agrees_with_a_list_of_all_frames(lengths: list[int], sample: int) -> None:
    timeline = InputTimeline()
    ends = [0]
    for number, samples in enumerate(lengths, 1):
        timeline.place(number, samples)
        ends.append(ends[-1] + samples)

    later = [number for number, samples in enumerate(lengths, 1) if samples and ends[number] > sample]

    assert [timeline.place(number, 0) for number in range(1, len(lengths) + 1)] == ends[:-1]
    assert [timeline.end_of(number) for number in range(1, len(lengths) + 1)] == ends[1:]
    assert timeline.through(sample) == min(later, default=len(lengths) + 1) - 1
