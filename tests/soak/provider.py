"""
A provider in a process of its own that goes wrong again and again, as long as its input is open.

It has several servers, of which one at a time goes wrong, as those of a real one do.
Prints their addresses.
What it remembers for tests is thrown away as it goes, or it would hold hours of audio.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.openai import Answer, LoopbackOpenAI, OpenAIScript

__all__ = ["KEY", "running_provider"]

KEY = "soak"
SERVERS = 4
TIDY_S = 5.0

Fault = Callable[[LoopbackOpenAI], object]


def _away(how: DropHow, seconds: float) -> Fault:
    def fault(server: LoopbackOpenAI) -> None:
        server.refuse(seconds=seconds)
        server.drop(how, reason="Try again.")

    return fault


FAULTS: tuple[Fault, ...] = (
    _away(DropHow.RESET, 0.0),
    _away(DropHow.CLOSE, 0.0),
    _away(DropHow.GOING_AWAY, 0.2),
    _away(DropHow.RESET, 0.8),
    lambda server: server.stall(1.0),
    lambda server: server.garble(),
    lambda server: server.kick(1011, "Try again."),
)


@contextmanager
def running_provider(every_s: float) -> Iterator[list[str]]:
    """
    Start one, and stop it; the addresses of its servers.

    Args:
        every_s: Seconds from one fault to the next, on the average.
    """
    command = [sys.executable, "-m", "tests.soak.provider", str(every_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().split()
        finally:
            process.stdin.close()


def main(every_s: float) -> None:
    chance = random.Random(1)
    ended = threading.Event()
    script = OpenAIScript(otherwise=Answer(audio_ms=1000, delta_ms=20, pace_s=0.02))
    with ExitStack() as stack:
        servers = [stack.enter_context(LoopbackOpenAI(script, key=KEY)) for _ in range(SERVERS)]
        print(*(server.url for server in servers), flush=True)
        threading.Thread(target=_set_at_the_end_of_input, args=(ended,), daemon=True).start()
        until_fault = chance.expovariate(1 / every_s)
        while not ended.wait(min(until_fault, TIDY_S)):
            until_fault -= TIDY_S
            for server in servers:
                _forget(server)
            if until_fault <= 0:
                chance.choice(FAULTS)(chance.choice(servers))
                until_fault = chance.expovariate(1 / every_s)


def _set_at_the_end_of_input(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def _forget(server: LoopbackOpenAI) -> None:
    for connection in server.log:
        connection.received.clear()
        connection.sent.clear()


if __name__ == "__main__":
    main(float(sys.argv[1]))
