"""What is kept for a connection that may have forgotten it, and when it may be let go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_async._core.cursors import StreamCursor
from realtime_async._core.frames import RealtimeInputFrame
from realtime_async._core.media import AudioFormat, RealtimeMediaKind
from realtime_async._core.tail import LEAST_FRAMES, ReplayTail
from realtime_async.ports import AudioEncoding

# 20 ms of pcm16, 24 kHz, mono.
PIECE = bytes(960)


def audio(number: int, payload: bytes = PIECE, audio_format: AudioFormat | None = None) -> RealtimeInputFrame:
    frame = RealtimeInputFrame.audio(payload, audio_format=audio_format)
    return frame.stamped(StreamCursor.chunk(number))


def filled(tail: ReplayTail, frames: int, *, first: int = 1) -> ReplayTail:
    """*tail* after so many frames of 20 ms, one every 20 ms."""
    for number in range(first, first + frames):
        tail.add(number, audio(number), number * 0.02)
    return tail


def tail_of(seconds: float) -> ReplayTail:
    return ReplayTail(seconds, AudioFormat())


def numbers(tail: ReplayTail, after: int = 0, now: float = 0.0) -> list[int]:
    return [tailed.number for tailed in tail.after(after, now)]


def test_audio_is_kept_by_its_duration() -> None:
    tail = filled(tail_of(0.1), 20)

    assert numbers(tail) == [16, 17, 18, 19, 20]
    assert tail.bytes == 5 * 960


def test_a_tail_of_no_seconds_keeps_nothing_but_still_knows_positions() -> None:
    tail = filled(tail_of(0.0), 5)
    tail.add(6, RealtimeInputFrame.text("and"), 0.12)

    assert len(tail) == 0
    assert tail.number_at(60.0) == 3


def test_text_is_kept_by_when_it_was_sent() -> None:
    tail = tail_of(1.0)
    tail.add(1, RealtimeInputFrame.text("now"), 0.0)

    assert numbers(tail, now=1.0) == [1]
    assert numbers(tail, now=1.1) == []


def test_audio_that_only_refers_to_its_samples_is_kept_by_when_it_was_sent() -> None:
    """It takes no time, so however much is said after it, it would never be too old."""
    tail = tail_of(1.0)
    for number, now in ((1, 0.0), (2, 0.5), (3, 1.2)):
        tail.add(number, RealtimeInputFrame.media_ref(RealtimeMediaKind.AUDIO, "ref"), now)
    tail.add(4, audio(4), 1.2)

    assert numbers(tail, now=1.2) == [2, 3, 4]
    assert numbers(tail, now=1.5) == [2, 3, 4]
    assert numbers(tail, now=9.0) == [4]


def test_what_was_said_is_given_back_in_its_order() -> None:
    tail = tail_of(1.0)
    tail.add(1, audio(1), 0.0)
    tail.add(2, RealtimeInputFrame.text("and"), 0.0)
    tail.add(3, audio(3), 0.0)

    assert numbers(tail, after=1) == [2, 3]


def test_large_frames_push_out_older_ones() -> None:
    tail = tail_of(0.1)
    limit = 48_000 // 10
    for number in range(1, 4):
        tail.add(number, RealtimeInputFrame.image(bytes(limit)), 0.0)
    tail.add(4, audio(4), 0.0)
    tail.add(5, RealtimeInputFrame.image(bytes(limit)), 0.0)

    assert tail.bytes <= limit + limit
    assert numbers(tail) == [4, 5]


def test_beside_a_frame_larger_than_all_the_rest_nothing_is_forgotten_when_it_is_asked_for() -> None:
    """What is in memory is within its bound already: a restart that let go of some of it would lose those words."""
    tail = filled(tail_of(0.1), 5)
    tail.add(6, RealtimeInputFrame.image(bytes(9000)), 0.11)

    assert tail.bytes == 5 * 960 + 9000
    assert numbers(tail, now=0.11) == [1, 2, 3, 4, 5, 6]
    assert tail.bytes == 5 * 960 + 9000


def test_audio_makes_way_where_it_is_the_older() -> None:
    tail = tail_of(0.1)
    tail.add(1, audio(1), 0.0)
    for number in (2, 3):
        tail.add(number, RealtimeInputFrame.image(bytes(4800)), 0.0)

    assert numbers(tail) == [2, 3]


def test_frames_without_bytes_are_bounded_too() -> None:
    tail = tail_of(0.1)
    for number in range(1, 5000):
        tail.add(number, RealtimeInputFrame.media_ref(RealtimeMediaKind.AUDIO, "ref"), 0.0)

    assert len(tail) == LEAST_FRAMES


def test_a_frame_in_a_format_of_its_own_lasts_as_long_as_it_says() -> None:
    tail = tail_of(1.0)
    tail.add(1, audio(1, bytes(160), AudioFormat(AudioEncoding.G711_ULAW, 8000)), 0.0)

    assert tail.number_at(19.9) is None
    assert tail.number_at(20.0) == 1


def test_a_position_means_the_last_frame_that_ends_by_it() -> None:
    tail = filled(tail_of(1.0), 5)

    assert [tail.number_at(position) for position in (0, 19, 20, 59, 60, 1000)] == [None, None, 1, 2, 3, 5]


def test_an_answer_settles_what_was_committed_before_it() -> None:
    tail = filled(tail_of(15.0), 10)
    tail.committed(100.0, 0.2)
    tail.answer_started()
    tail.answer_ended(completed=True)

    assert numbers(tail) == [6, 7, 8, 9, 10]


def test_an_answer_does_not_settle_what_is_said_into_it() -> None:
    tail = filled(tail_of(15.0), 5)
    tail.committed(60.0, 0.1)
    tail.answer_started()
    tail.committed(100.0, 0.2)
    tail.answer_ended(completed=True)

    assert numbers(tail) == [4, 5]
    tail.answer_ended(completed=True)
    assert numbers(tail) == []


def test_an_answer_that_began_before_anything_was_committed_settles_nothing() -> None:
    tail = filled(tail_of(15.0), 5)
    tail.answer_started()
    tail.committed(100.0, 0.2)
    tail.answer_ended(completed=True)

    assert len(tail) == 5


def test_an_answer_that_was_cut_leaves_its_question_owed() -> None:
    tail = filled(tail_of(15.0), 5)
    tail.committed(100.0, 0.2)
    tail.answer_started()
    tail.answer_ended(completed=False)

    assert len(tail) == 5


@pytest.mark.parametrize("begins_late", [False, True])
@pytest.mark.parametrize(
    "known, left", [(0, 1), (3, 4), (6, 7), (7, 7), (99, 7)], ids=["nothing", "less", "it", "more", "all"]
)
def test_an_answer_of_a_new_connection_settles_what_that_one_knows(
    known: int, left: int, *, begins_late: bool
) -> None:
    tail = filled(tail_of(1.0), 10)
    tail.committed(120, 0.2)
    if not begins_late:
        tail.answer_started()
    tail.forgotten_after(known)
    if begins_late:
        tail.answer_started()

    tail.answer_ended(completed=True)

    assert numbers(tail) == [*range(left, 11)]


def test_a_commit_without_a_position_means_what_was_sent_a_second_before() -> None:
    tail = filled(tail_of(15.0), 100)
    tail.committed(None, 2.0)
    tail.answer_ended(completed=True)

    assert numbers(tail)[0] == 51


def test_a_commit_without_a_position_right_at_the_start_settles_nothing() -> None:
    tail = filled(tail_of(15.0), 5)
    tail.committed(None, 0.1)
    tail.answer_ended(completed=True)

    assert len(tail) == 5


def test_beside_a_text_audio_is_kept_by_its_duration_too() -> None:
    tail = tail_of(0.1)
    tail.add(1, RealtimeInputFrame.text("x").stamped(StreamCursor.chunk(1)), 0.0)
    for number in range(2, 12):
        tail.add(number, audio(number), 0.0)

    assert numbers(tail) == [1, 7, 8, 9, 10, 11]


def test_without_being_asked_it_lets_go_of_what_is_too_old() -> None:
    tail = filled(tail_of(0.1), 100)

    assert len(tail) == 5
    assert tail.bytes == 5 * len(PIECE)


@given(st.lists(st.tuples(st.integers(0, 3000), st.booleans()), max_size=60), st.floats(0.02, 1.0))
def test_the_tail_never_holds_more_than_its_seconds_and_one_frame(
    pieces: list[tuple[int, bool]], seconds: float
) -> None:
    tail = tail_of(seconds)
    newest = 0
    for number, (size, is_audio) in enumerate(pieces, 1):
        payload = bytes(2 * size)
        frame = audio(number, payload) if is_audio else RealtimeInputFrame.image(payload)
        tail.add(number, frame, number * 0.01)
        newest = len(payload)
        assert tail.bytes <= int(seconds * 48_000) + newest
        kept = numbers(tail, now=number * 0.01)
        assert kept == sorted(kept)
