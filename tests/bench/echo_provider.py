"""
A provider in a process of its own, so that none of its work is counted: one audio delta for each frame, as OpenAI sends it.

Prints its port, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.asyncio.server import ServerConnection, serve

from tests.bench.stage import FRAME

__all__ = ["moments_of", "running", "running_provider"]

# What OpenAI says before a session takes audio, and what an answer begins with.
CREATED = {"type": "session.created", "event_id": "event_1", "session": {"type": "realtime", "id": "sess_1"}}
RESPONSE = {"id": "resp_1", "object": "realtime.response", "status": "in_progress", "output": []}
ITEM = {"id": "item_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
BEGINNING = [
    {"type": "session.updated", "event_id": "event_2", "session": {"type": "realtime", "id": "sess_1"}},
    {"type": "response.created", "event_id": "event_3", "response": RESPONSE},
    {
        "type": "response.output_item.added",
        "event_id": "event_4",
        "response_id": "resp_1",
        "output_index": 0,
        "item": ITEM,
    },
]
# A delta's audio begins with the moments at which its frame came and it was sent, in ns of the system's monotonic clock;
# 18 bytes are whole in base64.
MOMENTS = struct.Struct("<qqxx")
BEFORE, AFTER = json.dumps(
    {
        "type": "response.output_audio.delta",
        "event_id": "event_0123456789abcdef",
        "response_id": "resp_1",
        "item_id": "item_1",
        "output_index": 0,
        "content_index": 0,
        "delta": f"|{base64.b64encode(FRAME[MOMENTS.size :]).decode()}",
    }
).split("|")


def delta(came_at_ns: int) -> str:
    moments = MOMENTS.pack(came_at_ns, time.monotonic_ns())
    return f"{BEFORE}{base64.b64encode(moments).decode()}{AFTER}"


def moments_of(audio: bytes) -> tuple[float, float]:
    """When the frame that *audio* answers came to the provider, and when *audio* left it: seconds of `time.monotonic`."""
    came_ns, left_ns = MOMENTS.unpack_from(audio)
    return came_ns / 1e9, left_ns / 1e9


@contextmanager
def running(module: str) -> Iterator[str]:
    """Start *module* as a process, and stop it; the first line that it prints."""
    with subprocess.Popen(
        [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


@contextmanager
def running_provider() -> Iterator[str]:
    """Start one, and stop it; its address."""
    with running("tests.bench.echo_provider") as port:
        yield f"ws://127.0.0.1:{port}/"


async def main() -> None:
    async with serve(answer, "127.0.0.1", 0, compression=None, ping_interval=None, max_queue=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def answer(connection: ServerConnection) -> None:
    await connection.send(json.dumps(CREATED))
    async for message in connection:
        # A frame begins otherwise; only one of the few messages before it is worth reading.
        if isinstance(message, str) and '"session.update"' in message[:100]:
            for event in BEGINNING:
                await connection.send(json.dumps(event))
            continue
        await connection.send(delta(time.monotonic_ns()))


if __name__ == "__main__":
    asyncio.run(main())
