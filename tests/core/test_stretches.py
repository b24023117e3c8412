"""What is joined comes apart again as it was, and nothing is remembered for ever."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_async._core.frames import InputSignal, RealtimeInputFrame
from realtime_async._core.media import AudioFormat, PrivacyClass, RealtimeMediaKind, RetentionClass
from realtime_async._core.stretches import FRAMES_EACH, FRAMES_JOINED, Stretch
from realtime_async._core.tail import POSITIONS, ReplayTail

RATE = AudioFormat().bytes_per_second
PIECE = bytes(960)


@attrs.frozen(kw_only=True, slots=False)
class Labelled(RealtimeInputFrame):
    """A frame of a program that has more to say of it."""

    label: str = "mine"


def built(payload: bytes | None = PIECE, **fields: object) -> RealtimeInputFrame:
    return RealtimeInputFrame(media_kind=RealtimeMediaKind.AUDIO, payload=payload, **fields)  # type: ignore[arg-type]  # any field of it


# One for each field that frames of audio can differ in; a field that is missing here fails a test below.
UNLIKE: dict[str, Callable[[], RealtimeInputFrame]] = {
    "content_refs": lambda: built(content_refs=("content.1",)),
    "redacted_summary": lambda: built(redacted_summary="speech"),
    "privacy": lambda: built(privacy=PrivacyClass.RAW_CONTENT_ALLOWED),
    "retention": lambda: built(retention=RetentionClass.DURABLE),
    "critical": lambda: built(critical=True),
    "signal": lambda: built(signal=InputSignal.END_OF_TURN),
    "call_id": lambda: built(call_id="call-1"),
    "mime_type": lambda: built(mime_type="audio/pcm"),
    "audio_format": lambda: built(audio_format=AudioFormat()),
    "frame_id": lambda: built(frame_id="mine"),
    "payload": lambda: built(None),
    "class": lambda: Labelled(media_kind=RealtimeMediaKind.AUDIO, payload=PIECE),
}
plain = st.builds(RealtimeInputFrame.audio, st.integers(0, 12).map(lambda samples: b"ab" * samples))
any_audio = plain | st.sampled_from(sorted(UNLIKE)).map(lambda name: UNLIKE[name]())


def everything(frame: RealtimeInputFrame) -> object:
    return type(frame), attrs.asdict(frame)


def filled(frames: list[RealtimeInputFrame]) -> Stretch:
    stretch = Stretch(1, frames[0], 0.0, RATE)
    for frame in frames:
        stretch.add(frame, frame.payload_bytes())
    return stretch


def test_each_field_that_frames_of_audio_can_differ_in_is_tried() -> None:
    names = {field.name for field in attrs.fields(RealtimeInputFrame)}

    assert names - {"media_kind", "cursor"} <= UNLIKE.keys()


@pytest.mark.parametrize("unlike", UNLIKE.values(), ids=UNLIKE.keys())
@pytest.mark.parametrize("at", [0, 3, FRAMES_JOINED - 1, FRAMES_JOINED + 2])
def test_a_frame_unlike_the_others_is_given_back_as_it_was(
    unlike: Callable[[], RealtimeInputFrame], at: int
) -> None:
    frames = [RealtimeInputFrame.audio(PIECE) for _ in range(3 * FRAMES_JOINED)]
    frames[at] = unlike()

    again = [frame for _, frame in filled(frames)]

    assert [everything(frame) for frame in again] == [everything(frame) for frame in frames]


@given(st.lists(any_audio, min_size=1, max_size=40), st.data())
def test_what_was_not_dropped_is_given_back_with_its_number(
    frames: list[RealtimeInputFrame], data: st.DataObject
) -> None:
    stretch = Stretch(7, frames[0], 0.0, RATE)
    dropped = 0
    for frame in frames:
        stretch.add(frame, frame.payload_bytes())
        for _ in range(data.draw(st.integers(0, min(2, stretch.kept)))):
            assert stretch.drop() == frames[dropped].payload_bytes()
            dropped += 1

    assert stretch.kept == len(frames) - dropped
    again = [(number, everything(frame)) for number, frame in stretch]
    assert again == [
        (number, everything(frame)) for number, frame in enumerate(frames[dropped:], 7 + dropped)
    ]


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=30), st.integers(0, 400))
def test_a_position_means_the_last_frame_that_ends_by_it(samples: list[int], position_ms: int) -> None:
    """Each sample is 1/24 ms, so that the ends are counted in samples here."""
    stretch = filled([RealtimeInputFrame.audio(bytes(2 * count)) for count in samples])

    ended = [number for number in range(1, len(samples) + 1) if sum(samples[:number]) <= 24 * position_ms]
    assert stretch.number_at(position_ms) == (ended[-1] if ended else None)


def test_positions_are_remembered_of_so_many_frames_and_of_no_more() -> None:
    tail = ReplayTail(1.0, AudioFormat())
    frames = 3 * POSITIONS
    for number in range(1, frames + 1):
        tail.add(number, RealtimeInputFrame.audio(PIECE), number * 0.02)

    assert tail.number_at((frames - POSITIONS + 1) * 20) == frames - POSITIONS + 1
    assert tail.number_at((frames - POSITIONS - 2 * FRAMES_EACH) * 20) is None


def test_a_full_tail_holds_little_beside_its_audio() -> None:
    """Less than the head that each payload would have for itself."""
    tail = ReplayTail(15.0, AudioFormat())
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1, 2001):
            tail.add(number, RealtimeInputFrame.audio(bytes(bytearray(PIECE))), number * 0.02)
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert len(tail) == 750
    assert held - tail.bytes < 64 * 1024


def test_what_was_sent_in_a_burst_is_taken_to_be_sent_with_its_last_frame() -> None:
    tail = ReplayTail(15.0, AudioFormat())
    for number in range(1, 11):
        tail.add(number, RealtimeInputFrame.audio(PIECE), 0.0 if number < 5 else 0.005)
    tail.committed(None, 1.004)
    tail.answer_ended(completed=True)

    assert len(tail) == 10
    tail.committed(None, 1.01)
    tail.answer_ended(completed=True)
    assert len(tail) == 0


def test_large_frames_that_are_gone_are_let_go_of_at_once() -> None:
    kept_s = FRAMES_JOINED + 2
    tail = ReplayTail(float(kept_s), AudioFormat())
    most = 0
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1, 4 * FRAMES_JOINED):
            tail.add(number, RealtimeInputFrame.audio(bytes(bytearray(RATE))), float(number))
            most = max(most, tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()

    assert len(tail) == kept_s
    assert most < (kept_s + 2) * RATE
