"""
A provider in a process of its own, so that none of its work is counted: one audio delta for each message.

Prints its port, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.asyncio.server import ServerConnection, serve

from tests.bench.stage import FRAME

__all__ = ["running_provider"]

DELTA = json.dumps(
    {
        "type": "response.output_audio.delta",
        "event_id": "event_0123456789abcdef",
        "response_id": "resp_0123456789abcdef",
        "item_id": "item_0123456789abcdef",
        "output_index": 0,
        "content_index": 0,
        "delta": base64.b64encode(FRAME).decode(),
    }
)


@contextmanager
def running_provider() -> Iterator[str]:
    """Start one, and stop it; its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.echo_provider"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield f"ws://127.0.0.1:{int(process.stdout.readline())}/"
        finally:
            process.stdin.close()


async def main() -> None:
    async with serve(answer, "127.0.0.1", 0, compression=None, ping_interval=None, max_queue=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def answer(connection: ServerConnection) -> None:
    async for _ in connection:
        await connection.send(DELTA)


if __name__ == "__main__":
    asyncio.run(main())
