"""
Speech to text, for the sentences that a bot expects.

The language model is made from example sentences, and the dictionary holds their words only: with the
recogniser's general model every other word is wrong, with this one about one in thirty.
So every sound is heard as one of these words; ask back before you do anything that has consequences.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from realtime_async.adapters.local._extra import import_extra
from realtime_async.adapters.local.vad import SAMPLE_RATE
from realtime_async.errors import ContractViolation

__all__ = ["PIECE_BYTES", "Recogniser", "recognisers"]

# 20 ms.  The decoder keeps the interpreter lock while it works, 1 ms for this much: an event loop stands still
# that long, in whatever thread the decoder runs.
PIECE_BYTES = SAMPLE_RATE // 50 * 2

# The acoustic model knows no digital silence: after it, one word in five is wrong.  A room at -61 dBFS mends that.
ROOM_RMS = 30.0

# Measured on synthesised speech at 20 dB: one word in 20 is wrong with the decoder's 6.5 and 0.65, one in 200 here.
LANGUAGE_WEIGHT = 12.0
WORD_PENALTY = 0.3


class Recogniser:
    """Hears one sentence at a time."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._fresh_mean: str = decoder.get_cmn()
        self._room = _room()
        self._heard = 0
        self._is_open = False

    def reset(self) -> None:
        """Forget the sentence under way, and the voice: somebody else may speak next."""
        self.drop()
        self._decoder.set_cmn(self._fresh_mean)
        self._heard = 0

    def drop(self) -> None:
        """Forget the sentence under way, if there is one."""
        if self._is_open:
            self.finish()

    def begin(self) -> None:
        self._decoder.start_utt()
        self._is_open = True

    def feed(self, pcm: bytes) -> None:
        """Listen to the next *pcm*, at most 20 ms of it."""
        assert len(pcm) <= PIECE_BYTES, f"{len(pcm)} bytes would stop the event loop"
        self._decoder.process_raw(self._in_a_room(pcm), no_search=False, full_utt=False)

    def finish(self) -> str:
        """Return the sentence; empty where nothing was understood."""
        self._decoder.end_utt()
        self._is_open = False
        hypothesis = self._decoder.hyp()
        return hypothesis.hypstr if hypothesis else ""

    def _in_a_room(self, pcm: bytes) -> bytes:
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.int32)
        start = self._heard % SAMPLE_RATE
        self._heard += len(samples)
        samples += self._room[start : start + len(samples)]
        return np.clip(samples, -32768, 32767).astype("<i2").tobytes()


def recognisers(sentences: Iterable[str], count: int) -> list[Recogniser]:
    """
    Make *count* recognisers for *sentences*, the kind of thing that will be said.

    It costs 50 ms, and 20 ms and 7 MB for each: make them before there is a call to serve.

    Raises:
        ContractViolation: There is no sentence, or a word in it that the dictionary doesn't know.
        ImportError: The recogniser is not installed.
    """
    sphinx = import_extra("pocketsphinx")
    spoken = [words for sentence in sentences if (words := _words(sentence))]
    if not spoken:
        raise ContractViolation("a recogniser needs example sentences: give it what people will say")
    with TemporaryDirectory() as directory:
        model = Path(directory, "sentences.lm")
        dictionary = Path(directory, "words.dict")
        _write_model(model, spoken)
        _write_dictionary(dictionary, spoken, Path(sphinx.get_model_path("en-us/cmudict-en-us.dict")))
        config = sphinx.Config(
            lm=str(model),
            dict=str(dictionary),
            lw=LANGUAGE_WEIGHT,
            wip=WORD_PENALTY,
            # Second and third looks at the whole sentence: they stall for seconds and mend nothing here.
            fwdflat=False,
            bestpath=False,
            loglevel="FATAL",
        )
        return [Recogniser(sphinx.Decoder(config)) for _ in range(count)]


def _words(sentence: str) -> list[str]:
    return re.findall(r"[\w']+", sentence.lower())


def _write_model(path: Path, spoken: Sequence[list[str]]) -> None:
    text = "\n".join(map(" ".join, spoken))
    model = import_extra("pocketsphinx.lm").ArpaBoLM(text=text, add_start=True)
    model.compute()
    with path.open("w", encoding="utf-8") as file:
        model.write(file)


def _write_dictionary(path: Path, spoken: Sequence[list[str]], whole: Path) -> None:
    wanted = {word for words in spoken for word in words}
    found = set()
    with whole.open(encoding="utf-8") as source, path.open("w", encoding="utf-8") as file:
        for line in source:
            # A second pronunciation is written `word(2)`.
            word = line.partition(" ")[0].partition("(")[0]
            if word in wanted:
                found.add(word)
                file.write(line)
    if unknown := sorted(wanted - found):
        raise ContractViolation(
            f"the dictionary doesn't know {unknown!r}: write numbers out, and say it in common English words"
        )


def _room() -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    # One second and one piece more, so that a piece never meets its end.  Seeded: what is heard must not depend on luck.
    samples = np.random.default_rng(1).normal(0, ROOM_RMS, SAMPLE_RATE + PIECE_BYTES // 2)
    return samples.round().astype(np.int32)
