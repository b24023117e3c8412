"""
Run a program that gets a signal as soon as it prints certain words.

    python tests/examples/signalled.py SIGTERM WORDS PROGRAM [ARGUMENT ...]

It sends the signal to itself, so that it is still where it was when it printed them.
"""

from __future__ import annotations

import io
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import BinaryIO

__all__: list[str] = []


class Watched(io.TextIOWrapper):
    """Standard output."""

    def __init__(self, buffer: BinaryIO, by: signal.Signals, words: str) -> None:
        super().__init__(buffer, encoding="utf-8", write_through=True)
        self._by = by
        self._words = words
        self._is_told = False

    def write(self, text: str) -> int:
        written = super().write(text)
        if not self._is_told and self._words in text:
            self._is_told = True
            os.kill(os.getpid(), self._by)
        return written


def main(by: str, words: str, program: str, *arguments: str) -> None:
    sys.argv = [program, *arguments]
    sys.path[0] = str(Path(program).parent)
    sys.stdout = Watched(sys.stdout.buffer, signal.Signals[by], words)
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
