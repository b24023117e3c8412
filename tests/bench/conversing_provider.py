"""
A strict OpenAI provider in a process of its own, which answers each turn by a second of audio.

Prints its address, and ends when its input does.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager

from realtime_async.testing.loopback.openai import Answer, LoopbackOpenAI, OpenAIScript
from tests.bench.echo_provider import running

__all__ = ["conversing_provider"]

ANSWER = Answer("We open at nine, and close at five.", audio_ms=1000, delta_ms=20)
KEY = "bench"


def conversing_provider() -> AbstractContextManager[str]:
    """Start one, and stop it; its address."""
    return running("tests.bench.conversing_provider")


if __name__ == "__main__":
    with LoopbackOpenAI(OpenAIScript(otherwise=ANSWER), key=KEY) as server:
        print(server.url, flush=True)
        sys.stdin.read()
