"""
The rules of one connection: what a client may say when, and what comes of it.

No I/O and no clock.  Whatever breaks a rule raises `Refused`, which closes the connection: Gemini Live has no
message for errors.
"""

from __future__ import annotations

from realtime_async.testing.loopback._gemini_memory import GeminiConversation, GeminiMemory, number_in
from realtime_async.testing.loopback._gemini_script import FirstHandle
from realtime_async.testing.loopback._gemini_shapes import Json, Refused, bytes_of, client_message
from realtime_async.testing.loopback._gemini_turn import GeminiTurn
from realtime_async.testing.loopback.hearing import FRAME_MS, Speech, number_of

__all__ = ["POLICY", "GeminiRules"]

POLICY = 1008
TOO_BIG = 1009

_BYTES_PER_MS = 32


class GeminiRules:
    """What it returns is to be sent in order; then `next_piece` has what the model says meanwhile."""

    def __init__(self, memory: GeminiMemory) -> None:
        self.conversation: GeminiConversation | None = None
        self.setup: Json | None = None
        self._memory = memory
        self._script = memory.script
        self._is_set_up = False
        self._is_manual = False
        self._interrupts = True
        self._is_active = False
        self._awaits_history = False
        self._has_begun = False
        self._ear = memory.script.turns.ear()
        self._audio = b""
        self._pending: list[int] = []
        self._turn: GeminiTurn | None = None
        self._cancelled_calls: set[str] = set()

    def receive(self, data: str | bytes, now: float) -> list[Json]:
        """
        Take one message.

        Raises:
            Refused: It breaks a rule.
        """
        if len(data) > self._script.max_message_bytes:
            raise Refused("Message too big.", TOO_BIG)
        name, body = client_message(data)
        if (name == "setup") is (self.setup is not None):
            raise Refused("setup must be the first message, and sent only once.")
        if name != "setup" and not self._is_set_up:
            raise Refused("Nothing may be sent before setupComplete.")
        match name:
            case "setup":
                return self._set_up(body, now)
            case "clientContent":
                return self._client_content(body, now)
            case "realtimeInput":
                return self._realtime_input(body, now)
            case "toolResponse":
                return self._tool_response(body)
            case _:
                return []

    def next_piece(self, now: float) -> list[Json] | None:
        """Return what the model says next; None: nothing, until it is asked, answered, or let go on."""
        if self._turn is None:
            return None
        messages = self._turn.next_piece()
        if self._turn.is_over:
            self._turn = None
            messages = [*(messages or []), *self._handle(now)]
        return messages

    def go_on(self) -> None:
        if self._turn is not None:
            self._turn.go_on()

    # Setup

    def _set_up(self, setup: Json, now: float) -> list[Json]:
        models = self._script.any_content_models | self._script.first_content_models
        model = setup.get("model", "")
        if not model.startswith("models/"):
            raise Refused("Invalid model name: it is models/NAME.")
        if model not in models:
            raise Refused(
                f"{model} is not found for API version v1beta, or is not supported for bidi.", POLICY
            )
        if len(setup.get("generationConfig", {}).get("responseModalities", ["AUDIO"])) != 1:
            raise Refused("At most one response modality can be specified in the setup request.")
        resumption = setup.get("sessionResumption", {})
        if "explicitVadSignal" in setup or "transparent" in resumption:
            raise Refused("explicitVadSignal and transparent are not supported in the Developer API.")
        detection = setup.get("realtimeInputConfig", {})
        self._is_manual = detection.get("automaticActivityDetection", {}).get("disabled", False)
        self._interrupts = detection.get("activityHandling") != "NO_INTERRUPTION"
        self._awaits_history = setup.get("historyConfig", {}).get("initialHistoryInClientContent", False)
        handle = resumption.get("handle")
        self.conversation = self._memory.begin() if handle is None else self._memory.resume(handle, now)
        self.setup = setup
        messages: list[Json] = [{"setupComplete": {"sessionId": f"session-{self.conversation.number}"}}]
        if handle is not None or self._script.first_handle is FirstHandle.AFTER_SETUP:
            messages += self._handle(now)
        return messages

    def complete_setup(self) -> None:
        """Note that the client is told that its setup is complete."""
        self._is_set_up = True

    def _handle(self, now: float) -> list[Json]:
        """What brings back the conversation as it is, for a client that asked for resumption."""
        assert self.setup is not None
        assert self.conversation is not None
        if "sessionResumption" not in self.setup:
            return []
        handle = self._memory.handle_for(self.conversation, now)
        return [{"sessionResumptionUpdate": {"newHandle": handle, "resumable": True}}]

    # Input

    def _client_content(self, content: Json, now: float) -> list[Json]:
        assert self.setup is not None
        assert self.conversation is not None
        is_complete = content.get("turnComplete", False)
        if self.setup["model"] in self._script.first_content_models:
            if not self._awaits_history:
                raise Refused("clientContent is only for the initial history, which the setup must announce.")
            self._awaits_history = not is_complete
            return []
        texts = [
            part["text"]
            for turn in content.get("turns", [])
            for part in turn.get("parts", [])
            if isinstance(part.get("text"), str)
        ]
        self.conversation.questions += texts
        for text in texts:
            self._hear(number_in(text), known=True)
        messages = self._interrupt(now)
        return [*messages, *self._ask()] if is_complete else messages

    def _realtime_input(self, body: Json, now: float) -> list[Json]:
        if len(body) != 1:
            raise Refused("realtimeInput has exactly one field.")
        if self._awaits_history:
            raise Refused("The initial history was announced, and is not complete.")
        ((name, value),) = body.items()
        match name:
            case "audio":
                return self._listen(bytes_of("audio", value), now)
            case "video":
                bytes_of("video", value)
                return []
            case "text":
                return self._read(value)
            case "activityStart" | "activityEnd" if not self._is_manual:
                raise Refused(
                    "Explicit activity control is not supported when automatic activity detection is on."
                )
            case "audioStreamEnd" if self._is_manual:
                raise Refused("audioStreamEnd is not supported when automatic activity detection is off.")
            case "activityStart":
                self._is_active = True
                return self._interrupt(now) if self._interrupts else []
            case "activityEnd":
                return self._end_activity()
            case "audioStreamEnd":
                self._ear = self._script.turns.ear()
                return self._ask_spoken() if self._has_begun else []
            case _:
                raise Refused("media_chunks is deprecated. Use audio, video, or text instead.")

    def _listen(self, pcm: bytes, now: float) -> list[Json]:
        self._audio += pcm
        size = FRAME_MS * _BYTES_PER_MS
        messages: list[Json] = []
        while len(self._audio) >= size:
            frame, self._audio = self._audio[:size], self._audio[size:]
            if self._is_manual and not self._is_active:
                continue
            self._hear(number_of(frame), known=False)
            if not self._is_manual:
                messages += self._follow(self._ear.hear(frame, bytes_per_ms=_BYTES_PER_MS), now)
        return messages

    def _follow(self, speech: Speech | None, now: float) -> list[Json]:
        if speech is Speech.STARTED:
            self._has_begun = True
            return self._interrupt(now) if self._interrupts else []
        return self._ask_spoken() if speech is Speech.STOPPED else []

    def _end_activity(self) -> list[Json]:
        if not self._is_active:
            raise Refused("activityEnd without an activityStart.")
        self._is_active = False
        return self._ask_spoken()

    def _read(self, text: str) -> list[Json]:
        assert self.conversation is not None
        self.conversation.questions.append(text)
        self._hear(number_in(text), known=True)
        return self._ask()

    def _hear(self, number: int | None, *, known: bool) -> None:
        assert self.conversation is not None
        if number is None:
            return
        self.conversation.heard.append(number)
        (self.conversation.known if known else self._pending).append(number)

    # Turns

    def _ask_spoken(self) -> list[Json]:
        assert self.setup is not None
        assert self.conversation is not None
        self._has_begun = False
        self.conversation.known += self._pending
        self._pending.clear()
        messages = self._ask()
        if "inputAudioTranscription" not in self.setup:
            return messages
        return [{"serverContent": {"inputTranscription": {"text": self._script.heard_as}}}, *messages]

    def _ask(self) -> list[Json]:
        assert self.setup is not None
        if self._turn is not None:
            # What is asked while the model speaks is taken in, and not answered on its own.
            return []
        self._turn = GeminiTurn(self._memory.next_answer(), self.setup, self._memory.next_call_id)
        return [{"sessionResumptionUpdate": {}}] if "sessionResumption" in self.setup else []

    def _interrupt(self, now: float) -> list[Json]:
        if self._turn is None:
            return []
        turn, self._turn = self._turn, None
        self._cancelled_calls |= turn.waiting_calls
        return [*turn.cut(), *self._handle(now)]

    def _tool_response(self, body: Json) -> list[Json]:
        responses = body.get("functionResponses", [])
        if not responses:
            raise Refused("toolResponse.functionResponses is empty.")
        for response in responses:
            call_id = response.get("id")
            if not call_id or "name" not in response or "response" not in response:
                raise Refused("A function response must have an id, a name and a response.")
            if call_id in self._cancelled_calls:
                raise Refused("The function call was cancelled.")
            if self._turn is None or call_id not in self._turn.waiting_calls:
                raise Refused("No function call with this id waits for a response.")
            if self._turn.waiting[call_id] != response["name"]:
                raise Refused("The name of the function response is not that of its call.")
            self._turn.answered(call_id)
        return []
