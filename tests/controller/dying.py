"""
A process that dies at a moment of one's choice, and another that takes its session up.

A moment is before or after an append, or before or after a call of the adapter.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import attrs

from realtime_async import MediaSpan, RealtimeSessionController, RealtimeSessionSidecar
from realtime_async.adapters.scripted import Script, ScriptedAdapter
from realtime_async.ports import (
    JournalRecord,
    OutputTranscript,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeRestartReason,
    ResponseDone,
    ResponseStarted,
    RunId,
    RunJournal,
    StreamCursor,
)
from realtime_async.testing.journals import ProcessDied
from tests.controller.recording import RecordedAdapter, RecordedJournal
from tests.controller.staged import FRAME, SECRET, plain_sidecar

__all__ = ["RUN", "SIDECARS", "Death", "Life", "call_up", "leave", "live"]

RUN = RunId("run-1")
SIDECARS = {
    "per frame": plain_sidecar(queue_capacity=3),
    "spans": plain_sidecar(queue_capacity=3, span=MediaSpan(frames=4, seconds=60.0)),
}
of = RealtimeOutputFrame.of


class Death:
    """
    Comes at the *at*-th moment, from 1; at 0 it never comes, and the moments are counted.

    Args:
        strike: What it does; it does not return.
    """

    def __init__(self, at: int, strike: Callable[[], None]) -> None:
        self.moments = 0
        self.has_come = False
        self._at = at
        self._strike = strike

    def moment(self) -> None:
        self.moments += 1
        if self.has_come or self.moments == self._at:
            self.has_come = True
            self._strike()


def leave() -> None:
    """Die as far as a test goes whose process lives on."""
    raise ProcessDied


class MortalJournal(RecordedJournal):
    """Dies before or after it has passed an append on."""

    def __init__(self, inner: RunJournal, death: Death) -> None:
        super().__init__(inner)
        self._death = death

    def append(self, record: JournalRecord) -> Any:
        self._death.moment()
        ack = super().append(record)
        self._death.moment()
        return ack


class MortalAdapter(RecordedAdapter):
    """Dies before or after a call; the dead neither call nor note anything."""

    def __init__(
        self, inner: Any, journal: RecordedJournal, death: Death, tell: Tell, first: int = 1
    ) -> None:
        super().__init__(inner, journal, RUN)
        # Numbers of the second process follow those of the first.
        self._numbers = itertools.count(first)
        self._death = death
        self._tell = tell

    def _note(self, edge: str, **facts: Any) -> None:
        if self._death.has_come:
            return
        if edge == "started":
            # The call is on its way: whether it arrived is what nobody can know.
            super()._note(edge, **facts)
            self._tell("log", self.log[-1])
            self._death.moment()
            return
        self._death.moment()
        super()._note(edge, **facts)
        self._tell("log", self.log[-1])


@attrs.define
class Life:
    """What is known of a session from outside, through the life of two processes."""

    given: list[str] = attrs.field(factory=list)
    """Ids of the frames given to `send`, in order."""
    returned: list[str] = attrs.field(factory=list)
    """Of those, the ones whose `send` returned."""
    log: list[dict[str, Any]] = attrs.field(factory=list)
    """What the adapters were asked, as the oracle reads it."""
    resumed: dict[str, Any] = attrs.field(factory=dict)
    """The totals that the second process began with."""
    ended: dict[str, Any] = attrs.field(factory=dict)
    """And those that it closed with."""
    records: list[dict[str, Any]] = attrs.field(factory=list)
    """What the journal holds in the end."""
    moments: int = 0
    refused: str | None = None
    """Why the second process could not resume."""

    def hear(self, what: str, fact: Any) -> None:
        match what:
            case "given" | "returned" | "log":
                getattr(self, what).append(fact)
            case "buried":
                self._bury(fact)
            case _:
                setattr(self, what, fact)

    def _bury(self, records: int) -> None:
        """The first process is dead, and left so many records: its calls are over, nobody knows how."""
        for entry in self.log:
            # What it had begun beyond was never written.
            entry["begun"] = min(entry["begun"], records)
        ended = {entry["call"] for entry in self.log if entry["edge"] == "ended"}
        for entry in [entry for entry in self.log if entry["edge"] == "started"]:
            if entry["call"] not in ended:
                self.log.append(
                    {
                        "edge": "ended",
                        "call": entry["call"],
                        "outcome": "died",
                        "begun": records,
                        "durable": records,
                    }
                )


Tell = Callable[[str, Any], None]


def provider(answers: bool) -> ScriptedAdapter:
    answer = [
        of(ResponseStarted(), response_id="answer-1"),
        *[RealtimeOutputFrame.audio(FRAME, response_id="answer-1") for _ in range(6)],
        of(OutputTranscript(SECRET, final=True), response_id="answer-1"),
        of(ResponseDone("completed"), response_id="answer-1"),
    ]
    return ScriptedAdapter(Script(answer if answers else [], kept_through=[StreamCursor.chunk(1)]))


async def live(
    journal: RunJournal,
    sidecar: RealtimeSessionSidecar,
    death: Death,
    tell: Tell,
) -> None:
    """Take every step of a call, unless death comes; what happens is told as it happens."""
    mortal = MortalJournal(journal, death)
    adapter = MortalAdapter(provider(answers=True), mortal, death, tell)
    controller = RealtimeSessionController(sidecar, adapter, mortal, run_id=RUN)
    try:
        await _call(controller, tell)
    finally:
        # The memory of the dead is no leak.
        controller._sending.gate.forget_all()
    tell("moments", death.moments)


async def _call(controller: RealtimeSessionController, tell: Tell) -> None:
    say = partial(_say, controller, tell, "before")
    await controller.connect()
    for number in range(6):
        await say("audio", number)
    await say("text", 6)
    for _ in range(8):
        await controller.receive()
    await say("audio", 7)
    await controller.interrupt()
    await say("audio", 8)
    with anyio.move_on_after(0.01):
        # Its intent stays outstanding.
        await controller.receive()
        await controller.receive()
    await controller.begin_restart(RealtimeRestartReason.GO_AWAY)
    await say("audio", 9)
    await say("text", 10)
    await controller.interrupt()
    await controller.complete_restart()
    await say("audio", 11)
    await controller.begin_restart()
    await say("audio", 12)
    await say("audio", 13)
    await controller.close()


async def call_up(journal: RunJournal, sidecar: RealtimeSessionSidecar, tell: Tell) -> None:
    """Resume what another process has left, say something more, and close."""
    death = Death(0, leave)
    recorded = MortalJournal(journal, death)
    adapter = MortalAdapter(provider(answers=False), recorded, death, tell, first=1000)
    controller = await RealtimeSessionController.resume(sidecar, adapter, recorded, run_id=RUN)
    tell("resumed", attrs.asdict(controller.delivery))
    for number in range(3):
        await _say(controller, tell, "after", "audio", number)
    await _say(controller, tell, "after", "text", 3)
    await controller.close()
    tell("ended", attrs.asdict(controller.delivery))


async def _say(controller: RealtimeSessionController, tell: Tell, when: str, what: str, number: int) -> None:
    frame_id = f"{when}.{number}"
    frame = (
        RealtimeInputFrame.audio(FRAME, frame_id=frame_id)
        if what == "audio"
        else RealtimeInputFrame.text(SECRET, frame_id=frame_id)
    )
    tell("given", frame_id)
    await controller.send(frame)
    tell("returned", frame_id)
