"""A speaker without a device, and frames in time."""

from __future__ import annotations

import math
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from realtime_async import AudioFormat, RealtimeOutputFrame
from realtime_async.audio import SilentSpeaker, paced
from realtime_async.errors import ContractViolation

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]

FORMAT = AudioFormat(sample_rate=16_000)


def answer(ms: int, response_id: str = "answer.1") -> RealtimeOutputFrame:
    return RealtimeOutputFrame.audio(bytes(32 * ms), response_id=response_id)


@pytest.mark.parametrize("speed", [1.0, 10.0])
async def test_it_takes_the_time_that_playing_takes(speed: float) -> None:
    speaker = SilentSpeaker(FORMAT, speed=speed)
    begun = anyio.current_time()

    await speaker.play(answer(500))
    await speaker.play(answer(1500))
    assert speaker.is_playing
    await speaker.finished()

    assert anyio.current_time() - begun == pytest.approx(2 / speed, abs=0.01)
    assert speaker.heard_bytes == 64_000
    assert not speaker.is_playing


async def test_it_says_how_much_of_the_answer_was_heard() -> None:
    speaker = SilentSpeaker(FORMAT)
    await speaker.play(answer(500, "answer.1"))
    await speaker.play(answer(1000, "answer.2"))

    await anyio.sleep(0.7)

    assert speaker.stop() == pytest.approx(200, abs=1)
    assert not speaker.is_playing


async def test_an_answer_of_which_nothing_was_heard_was_heard_for_no_time() -> None:
    speaker = SilentSpeaker(FORMAT)
    await speaker.play(answer(500, "answer.1"))
    await speaker.finished()
    await speaker.play(answer(500, "answer.2"))

    assert speaker.stop() == 0


async def test_an_answer_that_was_heard_whole_was_heard_for_its_length() -> None:
    speaker = SilentSpeaker(FORMAT)
    await speaker.play(answer(500))
    await speaker.finished()
    await anyio.sleep(3)

    assert speaker.stop() == 500


async def test_time_in_which_it_was_silent_is_not_made_up_for() -> None:
    speaker = SilentSpeaker(FORMAT)
    await speaker.play(answer(100))
    await anyio.sleep(5)
    await speaker.play(answer(500))

    await anyio.sleep(0.1)

    assert speaker.stop() == pytest.approx(200, abs=1)


async def test_a_full_one_makes_the_next_frame_wait() -> None:
    speaker = SilentSpeaker(FORMAT, buffer_s=1.0)
    begun = anyio.current_time()

    for _ in range(4):
        await speaker.play(answer(500))

    assert anyio.current_time() - begun == pytest.approx(1.0, abs=0.01)


async def test_frames_are_yielded_when_it_is_time_for_them() -> None:
    begun = anyio.current_time()
    times = [anyio.current_time() - begun async for _ in paced([b"1", b"2", b"3"], speed=2)]

    assert times == pytest.approx([0, 0.01, 0.02])


@pytest.mark.parametrize(
    "given",
    [
        {"audio_format": "pcm16"},
        {"speed": 0},
        {"speed": -1.0},
        {"speed": math.nan},
        {"speed": "fast"},
        {"buffer_s": 0},
        {"buffer_s": math.inf},
        {"buffer_s": None},
    ],
    ids=str,
)
def test_a_speaker_that_cannot_be_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ContractViolation, match="give"):
        SilentSpeaker(**given)


@pytest.mark.parametrize("given", [{"speed": 0}, {"speed": math.nan}, {"piece_s": -0.02}], ids=str)
async def test_no_piece_is_paced_by_no_pace(given: dict[str, Any]) -> None:
    async with aclosing(paced([b"ab"], **given)) as pieces:
        with pytest.raises(ContractViolation, match="above 0"):
            await anext(pieces)
