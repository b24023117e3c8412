"""A client that says what it is told, right or wrong: plain JSON over a plain WebSocket."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeAlias

from websockets.sync.client import ClientConnection, connect

from realtime_async.testing.loopback.hearing import numbered_audio
from realtime_async.testing.loopback.openai import LoopbackOpenAI

Event: TypeAlias = dict[str, Any]

# Nothing here takes longer than a few milliseconds, unless it hangs.
PATIENCE_S = 10.0


class RawClient:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[Event] = []
        """All that was received."""

    def say(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))

    def hear(self) -> Event:
        event: Event = json.loads(self.socket.recv(timeout=PATIENCE_S))
        self.events.append(event)
        return event

    def hear_on(self) -> NoReturn:
        """Take in what comes, until the connection ends with an error."""
        while True:
            self.hear()

    def until(self, kind: str) -> Event:
        """Return the next event of this type; an error on the way there is a failure."""
        while True:
            event = self.hear()
            if event["type"] == kind:
                return event
            assert event["type"] != "error", event

    def refused(self, kind: str, **fields: Any) -> Event:
        """Say something wrong; return the error."""
        self.say(kind, event_id="the_wrong_one", **fields)
        while True:
            event = self.hear()
            if event["type"] == "error":
                assert event["error"]["event_id"] == "the_wrong_one"
                error: Event = event["error"]
                return error

    def configure(self, **session: Any) -> None:
        self.say("session.update", session={"type": "realtime", **session})
        self.until("session.updated")

    def speak(self, *numbers: int) -> None:
        for number in numbers:
            self.append(numbered_audio(number))

    def append(self, audio: bytes) -> None:
        self.say("input_audio_buffer.append", audio=base64.b64encode(audio).decode())


@contextmanager
def raw_client(server: LoopbackOpenAI, *, key: str | None = None) -> Iterator[RawClient]:
    """Connect; what comes out has heard `session.created` and said nothing."""
    headers = {"Authorization": f"Bearer {server.key if key is None else key}"}
    with connect(
        f"{server.url}?model=gpt-realtime",
        additional_headers=headers,
        proxy=None,
        # A test may leave in the middle of an answer; a full queue would hide the server's goodbye.
        max_queue=None,
    ) as socket:
        client = RawClient(socket)
        assert client.hear()["type"] == "session.created"
        yield client


def user_says(text: str) -> Event:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
