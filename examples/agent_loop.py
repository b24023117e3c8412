"""
An agent on a call: it calls tools while it talks, is spoken over, and ends when its run is complete.

    python examples/agent_loop.py
    python examples/agent_loop.py --journal calls.db --backend trio

It needs the extra local.
Nobody has to speak: the caller's part is synthesised, and played ten times as fast as life.
One tool is slow and one fails; the third answer is spoken over, and stops at once.
SIGTERM and Ctrl-C let the sentence under way be answered, for at most ten seconds, and then end the call.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from importlib.util import find_spec
from io import TextIOWrapper
from itertools import repeat
from pathlib import Path

import anyio
import attrs
import structlog

from realtime_async import (
    AgentError,
    InputTranscript,
    OutputAudio,
    OutputTranscript,
    RealtimeCompletionGate,
    RealtimeInputFrame,
    RealtimeSession,
    RealtimeSessionSidecar,
    ResponseDone,
    RunId,
    SpeechStarted,
    ToolCall,
    ToolCallCancelled,
    open_session,
)
from realtime_async.audio import SilentSpeaker, paced
from realtime_async.journals import SqliteJournal

try:
    import numpy as np
    import soxr

    from realtime_async.adapters.local import CallTool, LocalSpeechAdapter, Voice
except ImportError as missing:
    sys.exit(f"agent_loop: {missing.name} is missing: pip install -e '.[local]'")

SAMPLE_RATE = 16_000
FRAME_BYTES = SAMPLE_RATE // 50 * 2
FASTER_THAN_LIFE = 10
SLOW_TOOL_S = 0.5
TOOL_DEADLINE_S = 5.0
DRAIN_S = 10.0

SENTENCES = (
    "please book a table for two",
    "how is the weather today",
    "tell me about the menu",
    "thank you very much",
    "goodbye",
)

MENU = "We have soup, and fish, and bread. We have cheese, and pears, and wine. "


async def think(heard: str) -> AsyncGenerator[str | CallTool, str | None]:
    """The model's part: it answers as it thinks, and lets the agent do what has to be done."""
    if "table" in heard:
        yield "One moment, please. "
        booking = json.loads((yield CallTool("book_table", '{"people": 2}')) or "{}")
        yield booking.get("result", "I could not book it, I am sorry.")
    elif "weather" in heard:
        forecast = json.loads((yield CallTool("forecast")) or "{}")
        yield forecast.get("result", "I cannot see the weather from here, I am sorry.")
    elif "menu" in heard:
        for _ in range(20):
            yield MENU
            await anyio.sleep(0.1)
    else:
        yield "You are welcome. " if "thank" in heard else "Goodbye!"


async def book_table(people: int) -> str:
    await anyio.sleep(SLOW_TOOL_S)
    return f"A table for {people} is booked."


async def forecast() -> str:
    raise ConnectionError("the weather service does not answer")


TOOLS: Mapping[str, Callable[..., Awaitable[str]]] = {"book_table": book_table, "forecast": forecast}


async def result_of(call: ToolCall) -> str:
    """Do what *call* asks for, and say what came of it; that it failed is an outcome, too."""
    try:
        with anyio.fail_after(TOOL_DEADLINE_S):
            result = await TOOLS[call.name](**json.loads(call.arguments))
    except Exception as error:  # noqa: BLE001 - whatever it is, the model has to go on talking
        return json.dumps({"error": type(error).__name__})
    return json.dumps({"result": result})


@attrs.define
class Turn:
    """A sentence and its answer: what nobody wants to be cut off in."""

    is_open: bool = False
    _ended: anyio.Event = attrs.field(factory=anyio.Event)

    def begin(self) -> None:
        self.is_open = True

    def end(self) -> None:
        self.is_open = False
        self._ended.set()
        self._ended = anyio.Event()

    async def over(self) -> None:
        while self.is_open:
            await self._ended.wait()


@attrs.define
class Agent:
    """The loop: whatever the provider says, it does something about it, and waits for nothing that takes long."""

    session: RealtimeSession
    speaker: SilentSpeaker
    turn: Turn = attrs.field(factory=Turn)
    speaks: anyio.Event = attrs.field(factory=anyio.Event)
    tools: dict[str, anyio.CancelScope] = attrs.field(factory=dict)

    async def run(self) -> None:
        """Serve until the session is closed, and all that was begun has ended."""
        async with anyio.create_task_group() as tasks:
            async for frame in self.session.frames():
                match frame.event:
                    case SpeechStarted():
                        self.turn.begin()
                        await self.be_quiet()
                    case InputTranscript(text) if text:
                        print(f"heard: {text}")
                    case InputTranscript():
                        self.turn.end()
                    case OutputAudio():
                        self.speaks.set()
                        await self.speaker.play(frame)
                    case OutputTranscript(text, final=False):
                        print(f"said:  {text.strip()}")
                    case ToolCall() as call:
                        tasks.start_soon(self.use_tool, call)
                    case ToolCallCancelled(call_ids):
                        self.take_back(call_ids)
                    case ResponseDone("completed"):
                        self.turn.end()

    async def be_quiet(self) -> None:
        """Somebody speaks: stop talking, and tell the model how much of it was heard."""
        if self.speaker.is_playing:
            played_ms = self.speaker.stop()
            await self.session.interrupt(played_ms=played_ms)
            print(f"spoken over after {played_ms / 1000:.1f} s: silent")

    async def use_tool(self, call: ToolCall) -> None:
        with anyio.CancelScope() as self.tools[call.call_id]:
            print(f"tool:  {call.name}")
            result = await result_of(call)
            await self.session.send(RealtimeInputFrame.tool_result(call.call_id, result))
            print(f"tool:  {call.name} {'failed' if 'error' in json.loads(result) else 'is done'}")
        del self.tools[call.call_id]

    def take_back(self, call_ids: Sequence[str]) -> None:
        for call_id in call_ids:
            if call_id in self.tools:
                self.tools[call_id].cancel()


@attrs.define
class Caller:
    """Somebody on the line, whose microphone is never off."""

    agent: Agent
    voice: Voice = attrs.field(factory=Voice)
    _words: deque[bytes] = attrs.field(factory=deque)

    async def microphone(self) -> AsyncGenerator[bytes, None]:
        async with aclosing(paced(repeat(bytes(FRAME_BYTES)), speed=FASTER_THAN_LIFE)) as silences:
            async for silence in silences:
                yield self._words.popleft() if self._words else silence

    async def converse(self) -> None:
        await self.ask("please book a table for two")
        await self.ask("how is the weather today")
        await self.speak_over("tell me about the menu", "thank you very much")
        await self.ask("goodbye")

    async def ask(self, sentence: str) -> None:
        """Say *sentence*, and hear the answer out."""
        self.agent.turn.begin()
        await self.say(sentence)
        await self.agent.turn.over()
        await self.agent.speaker.finished()

    async def speak_over(self, sentence: str, interjection: str) -> None:
        """Say *sentence*, and lose patience with the answer."""
        self.agent.speaks = anyio.Event()
        await self.say(sentence)
        await self.agent.speaks.wait()
        await anyio.sleep(2.0 / FASTER_THAN_LIFE)
        await self.ask(interjection)

    async def say(self, sentence: str) -> None:
        spoken = await anyio.to_thread.run_sync(self.voice.speak, sentence)
        samples = np.frombuffer(spoken, dtype="<i2")
        pcm = soxr.resample(samples, self.voice.sample_rate, SAMPLE_RATE).astype("<i2").tobytes()
        for start in range(0, len(pcm), FRAME_BYTES):
            self._words.append(pcm[start : start + FRAME_BYTES].ljust(FRAME_BYTES, b"\0"))


async def call(session: RealtimeSession, speaker: SilentSpeaker) -> None:
    """Serve one call, until the caller has said goodbye or the process is asked to stop."""
    agent = Agent(session, speaker)
    caller = Caller(agent)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.send_audio_from, caller.microphone())
        tasks.start_soon(agent.run)
        tasks.start_soon(drain_on_signal, agent, tasks.cancel_scope)
        await caller.converse()
        # Whoever leaves the session's block closes the session.
        tasks.cancel_scope.cancel()


async def drain_on_signal(agent: Agent, the_call: anyio.CancelScope) -> None:
    if sys.platform == "win32":
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            print("asked to stop: this turn is the last", flush=True)
            with anyio.move_on_after(DRAIN_S):
                await agent.turn.over()
                await agent.speaker.finished()
            the_call.cancel()


async def run(options: argparse.Namespace) -> None:
    run_id = f"agent-loop.{uuid.uuid4().hex[:12]}"
    sidecar = RealtimeSessionSidecar.voice_defaults("agent-loop")
    adapter = LocalSpeechAdapter(think, SENTENCES, tools=TOOLS)
    speaker = SilentSpeaker(adapter.output_format, speed=FASTER_THAN_LIFE)
    gate = RealtimeCompletionGate()
    async with adapter, SqliteJournal.open(options.journal) as journal:
        async with open_session(sidecar, adapter, journal, run_id=run_id, gate=gate) as session:
            await call(session, speaker)
            # The tools have ended with the call: what they returned was sent, or will never be.
            gate.mark_output_delivery_terminal()
            gate.mark_final_visible_output()
        # This agent asks nobody for approval, and no rule of its own looks at the stream.
        gate.mark_approvals_terminal()
        gate.mark_stream_interventions_terminal()
        print(f"complete but for: {', '.join(gate.pending())}")
        last = await journal.last(RunId(run_id))
        assert last is not None
        gate.mark_terminal_event_replayable()
        await gate.wait()
    print(f"complete: {last.journal_seq} records in {options.journal}, run {run_id}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Run an agent that calls tools, is spoken over, and ends when its run is complete.",
        epilog="SIGTERM and Ctrl-C let the sentence under way be answered, and then end the call.",
    )
    parser.add_argument("--journal", type=Path, default=Path("calls.db"), metavar="FILE.db")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    options = parser.parse_args(arguments)
    if options.backend == "trio" and find_spec("trio") is None:
        parser.error("--backend trio: it is missing: pip install -e '.[trio]'")
    if isinstance(sys.stdout, TextIOWrapper):
        # A file may be called what it has no letters for.
        sys.stdout.reconfigure(errors="backslashreplace")
    # Until there is a call to end, SIGTERM ends the program as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    failure: BaseException | None = None
    try:
        anyio.run(run, options, backend=options.backend)
    except* KeyboardInterrupt:
        # Before there was a call to end.
        print("hung up")
    except* (AgentError, ImportError, OSError) as errors:
        failure = first_of(errors)
    if failure is not None:
        sys.exit(f"agent_loop: {failure}")


def first_of(error: BaseException) -> BaseException:
    """What task groups wrap."""
    return first_of(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    # The session logs what happens to it; what the caller wants to see is printed above.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    main()
