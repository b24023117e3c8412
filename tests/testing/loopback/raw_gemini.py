"""A client that says what it is told, right or wrong: plain JSON over a plain WebSocket."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeAlias

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from realtime_async.testing.loopback.gemini import LoopbackGemini
from realtime_async.testing.loopback.hearing import numbered_audio

__all__ = ["MODEL", "PATH", "RawGemini", "raw_gemini"]

Message: TypeAlias = dict[str, Any]

PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
MODEL = "models/gemini-3.8-live"
OLDER_MODEL = "models/gemini-2.5-flash-native-audio"

# Nothing here takes longer than a few milliseconds, unless it hangs.
PATIENCE_S = 10.0


class RawGemini:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.messages: list[Message] = []
        """All that was received."""

    def say(self, message: Message | str) -> None:
        self.socket.send(message if isinstance(message, str) else json.dumps(message))

    def hear(self) -> Message:
        message: Message = json.loads(self.socket.recv(timeout=PATIENCE_S))
        self.messages.append(message)
        return message

    def until(self, key: str) -> Message:
        """Return the next message, or the next content, that has *key*."""
        while True:
            message = self.hear()
            if key in message or key in message.get("serverContent", {}):
                return message

    def refused(self, message: Message | str) -> tuple[int, str]:
        """Say something wrong; return the close code and the reason."""
        self.say(message)
        return self.closed()

    def closed(self) -> tuple[int, str]:
        """Take in what comes until the server closes; return its close code and its reason."""
        with pytest.raises(ConnectionClosed) as closed:
            self._hear_on()
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code, closed.value.rcvd.reason

    def _hear_on(self) -> NoReturn:
        while True:
            self.hear()

    def set_up(self, **setup: Any) -> Message:
        self.say({"setup": {"model": MODEL, **setup}})
        return self.until("setupComplete")

    def speak(self, *numbers: int) -> None:
        for number in numbers:
            self.say(audio(numbered_audio(number, frame_bytes=640)))

    def be_silent(self, frames: int) -> None:
        for _ in range(frames):
            self.say(audio(bytes(640)))


def audio(pcm: bytes) -> Message:
    data = base64.b64encode(pcm).decode()
    return {"realtimeInput": {"audio": {"data": data, "mimeType": "audio/pcm;rate=16000"}}}


@contextmanager
def raw_gemini(server: LoopbackGemini, *, path: str = PATH, key: str | None = None) -> Iterator[RawGemini]:
    """Connect; what comes out has said nothing yet."""
    headers = {"x-goog-api-key": server.key if key is None else key}
    with connect(f"{server.url}{path}", additional_headers=headers, proxy=None, max_queue=None) as socket:
        yield RawGemini(socket)
