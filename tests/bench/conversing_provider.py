"""
A strict OpenAI provider in a process of its own, which answers each turn by a second of audio.

Prints its address, and ends when its input does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from realtime_async.testing.loopback.openai import Answer, LoopbackOpenAI, OpenAIScript

__all__ = ["conversing_provider"]

ANSWER = Answer("We open at nine, and close at five.", audio_ms=1000, delta_ms=20)
KEY = "bench"


@contextmanager
def conversing_provider() -> Iterator[str]:
    """Start one, and stop it; its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.conversing_provider"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


if __name__ == "__main__":
    with LoopbackOpenAI(OpenAIScript(otherwise=ANSWER), key=KEY) as server:
        print(server.url, flush=True)
        sys.stdin.read()
