"""The voice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from realtime_async.adapters.local.voice import Voice
from realtime_async.errors import ContractViolation


def seconds(voice: Voice, pcm: bytes) -> float:
    return len(pcm) / 2 / voice.sample_rate


def test_it_says_what_it_is_given() -> None:
    voice = Voice()

    assert 0.5 < seconds(voice, voice.speak("A table for two.")) < 3


def test_a_longer_text_takes_longer() -> None:
    voice = Voice()

    assert len(voice.speak("One two three four five six.")) > 1.5 * len(voice.speak("One two three."))


def test_it_speaks_as_fast_as_it_is_told() -> None:
    assert len(Voice(words_per_minute=100).speak("Good morning.")) > len(
        Voice(words_per_minute=200).speak("Good morning.")
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"name": None},
        {"name": "\ud800"},
        {"name": b"en-us"},
        {"words_per_minute": 0},
        {"words_per_minute": 10_000},
        {"words_per_minute": 160.5},
        {"words_per_minute": "fast"},
    ],
    ids=str,
)
def test_a_voice_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ContractViolation, match="give"):
        Voice(**fields)


@pytest.mark.parametrize("text", ["", " ", "\0", "…", "\ud800"])
def test_what_cannot_be_said_is_no_error(text: str) -> None:
    assert len(Voice().speak(text)) % 2 == 0


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ContractViolation, match="at most 400 characters in one go, not 401: split the text"):
        Voice().speak("a" * 401)


def test_a_null_character_does_not_end_the_text() -> None:
    voice = Voice()

    assert len(voice.speak("good\0morning everybody")) > len(voice.speak("good"))


def test_an_unknown_voice_is_refused() -> None:
    with pytest.raises(ContractViolation, match="no voice 'klingon-x'"):
        Voice("klingon-x")


def test_voices_in_several_threads_do_not_mix() -> None:
    # No two syntheses are alike, and one depends on the voice before it; but voices differ in length by 4 % and more.
    voices = [Voice("en-us"), Voice("en-us+f2"), Voice("en", 200)] * 4
    alone = [len(voice.speak("How is the weather?")) for voice in voices]

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda voice: len(voice.speak("How is the weather?")), voices))

    assert together == pytest.approx(alone, rel=0.02)
