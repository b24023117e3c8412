"""Where sentences begin and end."""

from __future__ import annotations

import attrs
import pytest

from realtime_async.adapters.local.endpointer import Endpointer, SpeechBegan, SpeechEnded, SpeechPiece

WINDOW = 512
"""Samples, 32 ms."""


class Loudness:
    """Takes every window for speech that is not all zeros."""

    window_bytes = 2 * WINDOW

    def is_speech(self, window: bytes) -> bool:
        return any(window)

    def reset(self) -> None:
        pass


@attrs.define
class Outcome:
    began: list[int] = attrs.field(factory=list)
    ended: list[SpeechEnded] = attrs.field(factory=list)
    sentences: list[bytes] = attrs.field(factory=list)


def audio(*windows: tuple[str, int]) -> bytes:
    """So many windows of each: "speech" and "silence"; no two of speech are alike."""
    pcm = bytearray()
    for kind, count in windows:
        for _ in range(count):
            number = len(pcm) // (2 * WINDOW) % 255 + 1
            pcm += bytes([number if kind == "speech" else 0]) * (2 * WINDOW)
    return bytes(pcm)


def endpointed(pcm: bytes, piece_bytes: int = 640, endpointer: Endpointer | None = None) -> Outcome:
    endpointer = Endpointer(Loudness()) if endpointer is None else endpointer
    outcome = Outcome()
    for start in range(0, len(pcm), piece_bytes):
        for event in endpointer.feed(pcm[start : start + piece_bytes], start // 2):
            match event:
                case SpeechBegan(at):
                    outcome.began.append(at)
                    outcome.sentences.append(b"")
                case SpeechPiece(piece):
                    outcome.sentences[-1] += piece
                case SpeechEnded():
                    outcome.ended.append(event)
    return outcome


def test_a_sentence_begins_with_its_first_window_of_speech() -> None:
    outcome = endpointed(audio(("silence", 30), ("speech", 10), ("silence", 30)))

    assert outcome.began == [30 * WINDOW]


def test_a_sentence_carries_300_ms_of_what_was_before() -> None:
    pcm = audio(("silence", 30), ("speech", 10), ("silence", 30))

    outcome = endpointed(pcm)

    assert outcome.ended[0].needs_from == 21 * WINDOW
    assert pcm[2 * 21 * WINDOW :].startswith(outcome.sentences[0])


def test_a_click_is_no_sentence() -> None:
    outcome = endpointed(audio(("silence", 30), ("speech", 1), ("silence", 30)))

    assert outcome == Outcome()


def test_a_sentence_ends_after_500_ms_of_silence_of_which_200_are_heard() -> None:
    outcome = endpointed(audio(("silence", 30), ("speech", 10), ("silence", 30)))

    assert outcome.ended == [SpeechEnded(needs_from=21 * WINDOW, at=40 * WINDOW, through=(40 + 16) * WINDOW)]
    assert len(outcome.sentences[0]) == 2 * WINDOW * (9 + 10 + 6)


def test_a_pause_is_part_of_the_sentence() -> None:
    pcm = audio(("silence", 30), ("speech", 10), ("silence", 15), ("speech", 5), ("silence", 30))

    outcome = endpointed(pcm)

    assert len(outcome.ended) == 1
    assert pcm[2 * 21 * WINDOW :].startswith(outcome.sentences[0])
    assert len(outcome.sentences[0]) == 2 * WINDOW * (9 + 10 + 15 + 5 + 6)


def test_two_sentences_are_told_apart() -> None:
    outcome = endpointed(audio(*[("silence", 30), ("speech", 10)] * 2, ("silence", 30)))

    assert outcome.began == [30 * WINDOW, 70 * WINDOW]
    assert [ended.at for ended in outcome.ended] == [40 * WINDOW, 80 * WINDOW]


def test_speech_without_end_is_cut_at_30_s_and_nothing_of_it_is_lost() -> None:
    pcm = audio(("speech", 2000), ("silence", 30))

    outcome = endpointed(pcm)

    assert len(outcome.ended) == 3
    assert outcome.ended[0].through == 938 * WINDOW
    assert pcm.startswith(b"".join(outcome.sentences))


@pytest.mark.parametrize("piece_bytes", [2, 320, 1024, 1026, 64_000])
def test_the_size_of_the_pieces_makes_no_difference(piece_bytes: int) -> None:
    pcm = audio(("silence", 30), ("speech", 10), ("silence", 10), ("speech", 3), ("silence", 30))

    assert endpointed(pcm, piece_bytes) == endpointed(pcm)


def test_a_sentence_can_be_ended_early() -> None:
    endpointer = Endpointer(Loudness())
    endpointed(audio(("silence", 30), ("speech", 10)) + b"\1\1", endpointer=endpointer)

    pieces = list(endpointer.end())

    assert pieces == [SpeechPiece(b"\1\1"), SpeechEnded(21 * WINDOW, at=40 * WINDOW, through=40 * WINDOW + 1)]
    assert not list(endpointer.end())


def test_it_says_which_audio_is_still_needed() -> None:
    endpointer = Endpointer(Loudness())

    needed = []
    for pcm in (audio(("silence", 30)), audio(("silence", 30), ("speech", 10))):
        endpointer.reset(0)
        endpointed(pcm, endpointer=endpointer)
        needed.append(endpointer.needs_from)

    assert needed == [19 * WINDOW, 21 * WINDOW]


def test_a_sentence_is_needed_until_its_end_was_told() -> None:
    endpointer = Endpointer(Loudness())

    needed = {
        type(event): endpointer.needs_from
        for event in endpointer.feed(audio(("silence", 30), ("speech", 10), ("silence", 30)), 0)
    }

    assert needed == {
        SpeechBegan: 21 * WINDOW,
        SpeechPiece: 21 * WINDOW,
        SpeechEnded: 56 * WINDOW,
    }


def test_audio_that_jumps_ahead_is_where_it_says_it_is() -> None:
    endpointer = Endpointer(Loudness())
    endpointed(audio(("silence", 30)), endpointer=endpointer)

    events = list(endpointer.feed(audio(("speech", 2)), 100 * WINDOW))

    assert events[0] == SpeechBegan(at=100 * WINDOW)


def test_after_a_reset_nothing_is_left_of_what_was_before() -> None:
    endpointer = Endpointer(Loudness())
    endpointed(audio(("speech", 10)), endpointer=endpointer)

    endpointer.reset(7 * WINDOW)

    assert endpointer.needs_from == 7 * WINDOW
    assert not list(endpointer.feed(audio(("silence", 30)), 7 * WINDOW))
