"""The offline bot in a folder of its own, and what came of a call."""

from __future__ import annotations

import re
import wave
from pathlib import Path
from typing import Any

import attrs
import pytest

from examples import offline_bot
from realtime_async.adapters.local import Brain, answer_command
from tests.examples.watching import found, journal_of

__all__ = ["Bot", "Outcome"]


@attrs.frozen
class Outcome:
    """What the bot printed, and what it left."""

    printed: str
    folder: Path

    @property
    def heard(self) -> list[str]:
        return re.findall(r"heard: (.*\S)", self.printed)

    @property
    def said(self) -> list[str]:
        return re.findall(r"said:  (.*\S)", self.printed)

    def summary(self, name: str) -> str:
        return found(rf"^ *{name}  (.*\S)", self.printed)

    @property
    def answer_s(self) -> float:
        with wave.open(str(self.folder / "answer.wav"), "rb") as answer:
            return answer.getnframes() / answer.getframerate()

    @property
    def run_id(self) -> str:
        return found(r"run (\S+),", self.summary("journal"))

    def journal(self) -> list[dict[str, Any]]:
        return journal_of(self.folder / "calls.db", self.run_id)


@attrs.frozen
class Bot:
    """The bot in a folder of its own."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def hears(
        self,
        sound: bytes,
        *arguments: str,
        rate: int = 16_000,
        channels: int = 1,
        brain: Brain = answer_command,
    ) -> Outcome:
        with wave.open(str(self.folder / "sound.wav"), "wb") as file:
            file.setparams((channels, 2, rate, 0, "NONE", ""))
            file.writeframes(sound)
        return self.runs("--input", "sound.wav", *arguments, brain=brain)

    def runs(self, *arguments: str, brain: Brain = answer_command) -> Outcome:
        self.capsys.readouterr()
        offline_bot.main(arguments, brain=brain)
        return Outcome(self.capsys.readouterr().out, self.folder)
