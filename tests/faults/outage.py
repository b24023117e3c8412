"""
A caller who speaks like a clock while the provider goes away, and what was heard of it.

The sound card makes a numbered frame every 20 ms and waits for nobody: it keeps a few, then loses them.
The provider is a server on loopback that says which numbers it heard, when, and on which connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import anyio
import attrs

from realtime_async import (
    Delivery,
    ProviderConnectionLost,
    RealtimeInputFrame,
    RealtimeSession,
    RealtimeSessionSidecar,
    RestartPolicy,
    RestartReport,
    open_session,
)
from realtime_async.adapters.openai import OpenAIRealtimeAdapter, OpenAIRealtimeConfig
from realtime_async.ports import ResponseDone, Restarted, RunJournal
from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.hearing import TurnsByNumber, numbered_audio
from realtime_async.testing.loopback.openai import LoopbackOpenAI, OpenAIScript

__all__ = ["FAULTS", "FRAME_S", "INSTRUCTIONS", "Outage", "Tale", "live_through"]

FRAME_S = 0.02
HEARD_S = 10.0
"""That an answer takes at most from the server to the program."""
INSTRUCTIONS = "Be brief."

# Frequent, so that the provider's return is noticed soon; many, so that the longest outage is outlived.
PATIENT = RestartPolicy(attempts=400, first_wait_s=0.05, factor=1.5, max_wait_s=0.2, jitter=0.1)

Fault = Callable[[LoopbackOpenAI, float], None]


def _dropped(how: DropHow, reason: str = "", *, status: int | None = 503) -> Fault:
    def drop(server: LoopbackOpenAI, seconds: float) -> None:
        server.refuse(seconds=seconds, status=status)
        server.drop(how, reason=reason)

    return drop


# What happens when the provider has heard so many frames; each lasts as long as it is told.
FAULTS: Mapping[str, Fault] = {
    "reset": _dropped(DropHow.RESET),
    "reset, unreachable": _dropped(DropHow.RESET, status=None),
    "going away": _dropped(DropHow.GOING_AWAY, "Your session hit the maximum duration of 60 minutes."),
    "clean close": _dropped(DropHow.CLOSE),
    "black hole": lambda server, seconds: server.stall(seconds),
}


@attrs.frozen
class Outage:
    fault: str
    seconds: float
    queue_frames: int = 2000
    before: int = 40
    """Frames that the provider hears before it goes away."""
    after: int = 40
    card_frames: int = 50
    """What the sound card keeps while its program is busy, so that a busy machine loses nothing of ours."""

    @property
    def frames(self) -> int:
        """How many the sound card makes."""
        return self.before + round(self.seconds / FRAME_S) + self.after


@attrs.define
class Tale:
    """What each side knows of a call."""

    outage: Outage
    handshake_s: float = 0.0
    due: list[float] = attrs.field(factory=list)
    """When the sound card had each frame, from number 1."""
    lost_by_the_card: list[int] = attrs.field(factory=list)
    raised: list[int] = attrs.field(factory=list)
    """The numbers of the frames whose `send` said that nobody knows."""
    began: float = 0.0
    """When the outage did."""
    reports: list[RestartReport] = attrs.field(factory=list)
    answers: list[str] = attrs.field(factory=list)
    """How each answer ended."""
    delivery: Delivery = attrs.field(factory=Delivery)
    heard: list[list[int]] = attrs.field(factory=list)
    """The numbers, by connection."""
    heard_at: list[list[float]] = attrs.field(factory=list)
    instructions: list[str] = attrs.field(factory=list)
    """With which each connection was configured."""
    errors: list[str] = attrs.field(factory=list)
    """What the server refused."""

    def lateness(self) -> Iterator[float]:
        """Seconds from a frame's birth to its arrival, of what the last connection heard, in its order."""
        for number, at in zip(self.heard[-1], self.heard_at[-1], strict=True):
            yield at - self.due[number - 1]

    @property
    def last_frame_late_s(self) -> float:
        return [*self.lateness()][-1]

    @property
    def worst_late_s(self) -> float:
        """Of what was said after the outage began."""
        return max(
            late
            for late, number in zip(self.lateness(), self.heard[-1], strict=True)
            if number > self.outage.before
        )

    @property
    def dead_air_s(self) -> float:
        """From the provider's return to the first frame that it heard."""
        back = self.began + self.outage.seconds
        return min(at for at in self.heard_at[-1] if at > back) - back

    def catching_up(self) -> tuple[float, float]:
        """Seconds from the first frame after the outage until frames arrive on time, and how fast that was."""
        back = self.began + self.outage.seconds
        after = [(at, late) for at, late in zip(self.heard_at[-1], self.lateness(), strict=True) if at > back]
        on_time = next((index for index, (_, late) in enumerate(after) if late < 3 * FRAME_S), len(after) - 1)
        seconds = after[on_time][0] - after[0][0]
        return seconds, on_time * FRAME_S / seconds if seconds else float("inf")


async def live_through(outage: Outage, journal: RunJournal, *, run_id: str = "call-1") -> Tale:
    """Speak before, during and after *outage*; return when the provider has heard the last frame."""
    tale = Tale(outage)
    # One turn, which the outage cuts; its answer is owed once.
    script = OpenAIScript(turns=TurnsByNumber([(20, outage.frames - outage.after // 2)]))
    sidecar = RealtimeSessionSidecar.voice_defaults(
        "faults", queue_capacity=outage.queue_frames, overflow_policy="drop_noncritical"
    )
    async with LoopbackOpenAI(script) as server:
        server.when_heard(outage.before, lambda: _begin(tale, server))
        config = OpenAIRealtimeConfig(
            model="gpt-realtime", api_key=server.key, base_url=server.url, instructions=INSTRUCTIONS
        )
        started = time.monotonic()
        async with (
            OpenAIRealtimeAdapter(config) as adapter,
            open_session(sidecar, adapter, journal, run_id=run_id, restart_policy=PATIENT) as session,
            anyio.create_task_group() as tasks,
        ):
            tale.handshake_s = time.monotonic() - started
            answered = anyio.Event()
            tasks.start_soon(_listen, session, tale, answered)
            await _speak(session, tale)
            with suppress(TimeoutError):
                # Where this is in vain, the tale says what is missing.
                await server.until(lambda: _is_over(server, outage))
                # What it has said may be on its way still.
                with anyio.fail_after(HEARD_S):
                    await answered.wait()
            tale.delivery = session.delivery
            tasks.cancel_scope.cancel()
        _ask(server, tale)
    return tale


def _is_over(server: LoopbackOpenAI, outage: Outage) -> bool:
    last = server.log[-1]
    return last.heard[-1:] == [outage.frames] and any(each["type"] == "response.done" for each in last.sent)


def _begin(tale: Tale, server: LoopbackOpenAI) -> None:
    tale.began = time.monotonic()
    FAULTS[tale.outage.fault](server, tale.outage.seconds)


async def _speak(session: RealtimeSession, tale: Tale) -> None:
    start = time.monotonic()
    tale.due = [start + number * FRAME_S for number in range(1, tale.outage.frames + 1)]
    for number, due in enumerate(tale.due, 1):
        late = time.monotonic() - due
        if late > tale.outage.card_frames * FRAME_S:
            tale.lost_by_the_card.append(number)
            continue
        if late < 0:
            await anyio.sleep(-late)
        try:
            await session.send(RealtimeInputFrame.audio(numbered_audio(number)))
        except ProviderConnectionLost:
            tale.raised.append(number)


async def _listen(session: RealtimeSession, tale: Tale, answered: anyio.Event) -> None:
    async for frame in session.frames():
        match frame.event:
            case ResponseDone(status):
                tale.answers.append(status)
                answered.set()
            case Restarted(report):
                tale.reports.append(report)


def _ask(server: LoopbackOpenAI, tale: Tale) -> None:
    for connection in server.log:
        tale.heard.append([*connection.heard])
        tale.heard_at.append([*connection.heard_at])
        tale.instructions.append(connection.session["instructions"])
        tale.errors += connection.errors
