"""What the offline bot hears in sounds that were made for the test: sentences drawn, voices, noise, and formats."""

from __future__ import annotations

import random
from itertools import groupby

import numpy as np
import pytest
import soxr

from realtime_async.adapters.local import COMMANDS
from tests.adapters.local.speech import noisy, silence, spoken
from tests.examples.calling import Bot

VOICES = ("en-us", "en-us+f2", "en-us+m3")
# Long enough for the answer before, at the pace of a file, so that nobody is spoken over.
PAUSE = silence(0.9)


def drawn(seed: int, sentences: int = 3) -> list[str]:
    # Who says goodbye hangs up.
    return random.Random(seed).sample([command for command in COMMANDS if command != "goodbye"], sentences)


def said(sentences: list[str], *voices: str) -> bytes:
    """*sentences*, each by the next of *voices*."""
    return b"".join(
        PAUSE + spoken(sentence, voices[number % len(voices)]) for number, sentence in enumerate(sentences)
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_it_hears_sentences_drawn_from_what_it_understands(seed: int, bot: Bot) -> None:
    sentences = drawn(seed)

    assert bot.hears(said(sentences, VOICES[seed])).heard == sentences


def test_it_hears_sentences_in_noise_20_db_below_them(bot: Bot) -> None:
    sentences = drawn(3)

    assert bot.hears(noisy(said(sentences, "en-us") + silence(0.5), 20)).heard == sentences


def test_it_hears_two_people_in_turn(bot: Bot) -> None:
    sentences = drawn(4, 4)

    assert bot.hears(said(sentences, "en-us", "en-us+f2")).heard == sentences


@pytest.mark.parametrize("backend, at_s", [("asyncio", 1.0), ("trio", 3.8)], ids=["first", "second"])
def test_it_hears_both_sentences_though_the_connection_is_replaced_in_one(
    backend: str, at_s: float, bot: Bot
) -> None:
    sentences = drawn(5, 2)

    outcome = bot.hears(said(sentences, "en-us", "en-us+f2"), "--restart-at", str(at_s), "--backend", backend)

    # A question whose answer was cut off is heard, and answered, again.
    assert [sentence for sentence, _ in groupby(outcome.heard)] == sentences
    assert outcome.summary("lost") == "nothing"


@pytest.mark.parametrize("rate, channels", [(8000, 1), (44_100, 2)], ids=str)
def test_a_file_may_have_any_rate_and_two_channels(rate: int, channels: int, bot: Bot) -> None:
    samples = np.frombuffer(silence(0.3) + spoken("what can you do") + silence(0.2), dtype="<i2")
    resampled = soxr.resample(samples, 16_000, rate).astype("<i2")

    outcome = bot.hears(np.repeat(resampled, channels).tobytes(), rate=rate, channels=channels)

    assert outcome.heard == ["what can you do"]
