"""Steps of a session in any order, for Hypothesis to choose from: operations, faults, cancellations, time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import anyio
import attrs
from anyio.abc import TaskGroup
from hypothesis import strategies as st

from realtime_async import MediaSpan, RealtimeOverflowPolicy, RealtimeSessionSidecar
from realtime_async.adapters.scripted import (
    Afterwards,
    Delay,
    Drop,
    EndOfStream,
    Fault,
    FrameFate,
    Hang,
    NowaitScriptedAdapter,
    Played,
    Refuse,
    Script,
    ScriptedAdapter,
)
from realtime_async.errors import AgentError, RetryClassification
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    InputCommitted,
    OutputTranscript,
    RealtimeCloseReason,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeRestartReason,
    ResponseDone,
    ResponseStarted,
    SpeechStarted,
    StreamCursor,
    ToolCall,
)
from realtime_async.testing.journals import SuspendingJournal
from tests.controller.begun import Begun, settled
from tests.controller.staged import FRAME, SECRET, StagedSession, audio, plain_sidecar, text

__all__ = ["PLANS", "Plan", "play"]

# More than all deadlines of one operation together: only a receive may wait longer.
FOR_EVER_S = 200.0
of = RealtimeOutputFrame.of


class World:
    """The session that the steps are taken in, and what is under way."""

    def __init__(self, plan: Plan, tasks: TaskGroup) -> None:
        self.tasks = tasks
        self.pending: list[Begun] = []
        self.kept: StreamCursor | None = None
        script = Script(kept_through=[lambda sent: self.kept])
        inner = MemoryJournal()
        self.staged = StagedSession(
            NowaitScriptedAdapter(script) if plan.nowait else ScriptedAdapter(script),
            sidecar=plan.sidecar(),
            journal=SuspendingJournal(inner) if plan.suspending else inner,
        )

    async def run(self, operation: Callable[[], Awaitable[object]], *, waits: bool) -> None:
        """Take an operation to its end, or, where it *waits*, to where it waits first."""
        begun = Begun()
        self.tasks.start_soon(begun.run, operation)
        self.pending.append(begun)
        if not waits:
            with anyio.fail_after(FOR_EVER_S):
                await begun.over()
        await settled()
        self.sweep()

    def sweep(self) -> None:
        """Forget what is over; it may have failed, but only as the contract says."""
        for begun in self.pending:
            if begun.error is not None and not isinstance(begun.error, AgentError):
                raise begun.error
        self.pending = [each for each in self.pending if not each.is_over]

    def suffer(self, operation: str, fault: Fault | None) -> None:
        """Let the next call of *operation* suffer *fault*."""
        if fault is not None and "connect" in self.staged.adapter.operations:
            self.staged.provider.inject(operation, fault)


class Step(Protocol):
    async def take(self, world: World, /) -> None: ...


@attrs.frozen
class Connect:
    waits: bool

    async def take(self, world: World) -> None:
        await world.run(world.staged.controller.connect, waits=self.waits)


MAKE: dict[str, Callable[[], RealtimeInputFrame]] = {
    "audio": audio,
    "text": text,
    "end": RealtimeInputFrame.end_of_turn,
}


@attrs.frozen
class Send:
    what: str
    fault: Fault | None
    waits: bool

    async def take(self, world: World) -> None:
        frame = MAKE[self.what]()
        world.staged.accepted.append(str(frame.frame_id))
        world.suffer("send", self.fault)
        await world.run(partial(world.staged.controller.send, frame), waits=self.waits)


@attrs.frozen
class Feed:
    """The provider says something, or its connection dies."""

    what: Played

    async def take(self, world: World) -> None:
        world.staged.provider.feed(self.what)
        await settled()


@attrs.frozen
class Receive:
    patience_s: float | None
    """Given up after that; None: it goes on waiting."""

    async def take(self, world: World) -> None:
        receive = world.staged.controller.receive
        if self.patience_s is None:
            await world.run(receive, waits=True)
            return
        with anyio.move_on_after(self.patience_s):
            await world.run(receive, waits=False)
        for begun in world.pending[-1:]:
            begun.scope.cancel()
        await settled()


@attrs.frozen
class Interrupt:
    response_id: str | None
    fault: Fault | None
    waits: bool

    async def take(self, world: World) -> None:
        world.suffer("interrupt", self.fault)
        await world.run(partial(world.staged.controller.interrupt, self.response_id), waits=self.waits)


@attrs.frozen
class BeginRestart:
    reason: RealtimeRestartReason
    waits: bool

    async def take(self, world: World) -> None:
        await world.run(partial(world.staged.controller.begin_restart, self.reason), waits=self.waits)


@attrs.frozen
class CompleteRestart:
    fault: Fault | None
    kept: int | None
    waits: bool

    async def take(self, world: World) -> None:
        world.kept = None if self.kept is None else StreamCursor.chunk(self.kept)
        world.suffer("restart", self.fault)
        await world.run(world.staged.controller.complete_restart, waits=self.waits)


@attrs.frozen
class Mend:
    """Bring the session back to a connection, unless something is in the way."""

    kept: int | None

    async def take(self, world: World) -> None:
        world.kept = None if self.kept is None else StreamCursor.chunk(self.kept)
        await world.run(world.staged.controller.begin_restart, waits=False)
        await world.staged.check()
        await world.run(world.staged.controller.complete_restart, waits=False)


@attrs.frozen
class Cancel:
    """Give up one of the operations that are under way."""

    which: int

    async def take(self, world: World) -> None:
        if world.pending:
            world.pending.pop(self.which % len(world.pending)).scope.cancel()
        await settled()


@attrs.frozen
class CrashAndResume:
    """The process dies with all that is under way, and another takes the session up."""

    fault: Fault | None
    """Of the first attempt to resume."""

    async def take(self, world: World) -> None:
        dead = world.staged
        dead.journal.is_dead = True
        kinds = await dead.kinds()
        if not kinds or kinds[-1] in {"closed", "close_failed"}:
            dead.journal.is_dead = False
            return
        for begun in world.pending:
            begun.scope.cancel()
        await settled()
        world.pending.clear()
        world.suffer("connect", self.fault)
        world.staged = await self._resumed(dead)
        with suppress(AgentError):
            await dead.controller.close()

    async def _resumed(self, dead: StagedSession) -> StagedSession:
        try:
            return await dead.resumed()
        except AgentError:
            return await dead.resumed()


@attrs.frozen
class Wait:
    seconds: float

    async def take(self, world: World) -> None:
        await anyio.sleep(self.seconds)
        await settled()


@attrs.frozen
class Close:
    reason: RealtimeCloseReason
    fault: Fault | None
    waits: bool

    async def take(self, world: World) -> None:
        world.suffer("close", self.fault)
        await world.run(partial(world.staged.controller.close, self.reason), waits=self.waits)


@attrs.frozen
class Plan:
    """What is to be played, and on which stage."""

    steps: list[Step]
    capacity: int
    policy: RealtimeOverflowPolicy
    tail_s: float
    stale_after_s: float | None
    span: MediaSpan | None
    nowait: bool
    suspending: bool

    def sidecar(self) -> RealtimeSessionSidecar:
        return plain_sidecar(
            queue_capacity=self.capacity,
            overflow_policy=self.policy,
            replay_tail_s=self.tail_s,
            stale_after_s=self.stale_after_s,
            span=self.span,
        )


async def play(plan: Plan) -> StagedSession:
    """Take every step of *plan*, let the oracle look after each, and close; returns the last session."""
    async with anyio.create_task_group() as tasks:
        world = World(plan, tasks)
        for step in plan.steps:
            await step.take(world)
            await world.staged.check()
        await world.run(world.staged.controller.close, waits=False)
        await world.staged.check()
        with anyio.fail_after(FOR_EVER_S):
            for begun in world.pending:
                await begun.over()
        world.sweep()
    kinds = await world.staged.kinds()
    assert kinds[-1] in {"closed", "close_failed"}, kinds
    assert world.staged.controller.delivery.queued == 0
    return world.staged


WAITS = st.booleans()
LOSSES = [Drop(fate) for fate in FrameFate]
UNKNOWN = Refuse("server_error", RetryClassification.UNKNOWN_OUTCOME)
CALL_FAULTS: list[Fault | None] = [None, None, None, Refuse(), UNKNOWN, Hang(), Delay(0.5), *LOSSES]
FAULTS: st.SearchStrategy[Any] = st.sampled_from([*CALL_FAULTS, Afterwards(Delay(0.5)), Afterwards(Drop())])
ANSWERS = st.sampled_from(["answer-1", "answer-2", None])
SAID: st.SearchStrategy[Any] = st.one_of(
    ANSWERS.map(lambda answer: RealtimeOutputFrame.audio(FRAME, response_id=answer)),
    ANSWERS.map(lambda answer: of(ResponseStarted(), response_id=answer)),
    st.builds(
        lambda answer, status: of(ResponseDone(status), response_id=answer),
        ANSWERS,
        st.sampled_from(["completed", "cancelled"]),
    ),
    ANSWERS.map(lambda answer: of(OutputTranscript(SECRET, final=True), response_id=answer)),
    st.sampled_from([None, 0, 20, 50, 10_000]).map(lambda position: of(InputCommitted(position))),
    st.sampled_from([None, 40]).map(lambda position: of(SpeechStarted(position))),
    st.just(of(ToolCall("call-1", "paint", SECRET))),
    st.sampled_from([Drop(), EndOfStream(), Refuse(), Delay(0.5)]),
)

RARELY = st.integers(0, 7).map(lambda number: number == 7)
SMOOTH = st.builds(Send, st.sampled_from(["audio", "audio", "text"]), st.none(), RARELY)
KEPT = st.sampled_from([None, 0, 1, 3])

# One of a kind each; what happens often in a call is here several times.
STEPS: list[st.SearchStrategy[Any]] = [
    SMOOTH,
    SMOOTH,
    SMOOTH,
    st.builds(Send, st.sampled_from(["audio", "audio", "text", "end"]), FAULTS, WAITS),
    st.builds(Send, st.sampled_from(["audio", "audio", "text", "end"]), FAULTS, WAITS),
    st.builds(Feed, SAID),
    st.builds(Feed, SAID),
    st.builds(Receive, st.sampled_from([0.2, 0.2, None])),
    st.builds(Receive, st.just(0.2)),
    st.builds(Interrupt, st.sampled_from([None, "answer-1"]), FAULTS, WAITS),
    st.builds(BeginRestart, st.sampled_from(RealtimeRestartReason), WAITS),
    st.builds(CompleteRestart, FAULTS, KEPT, WAITS),
    st.builds(Mend, KEPT),
    st.builds(Mend, KEPT),
    st.builds(Cancel, st.integers(0, 5)),
    st.builds(Wait, st.sampled_from([0.1, 1.0, 12.0])),
]
CLOSE = st.builds(Close, st.sampled_from(RealtimeCloseReason), FAULTS, WAITS)
ANY_STEP: st.SearchStrategy[Any] = st.one_of(STEPS)
# As often as each other step, where every step is taken to its end.
ANY_STEP_OR_CRASH: st.SearchStrategy[Any] = st.one_of([*STEPS, st.builds(CrashAndResume, FAULTS)])


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A plan that begins, most often, with a connection, and ends, sometimes, with a close that goes wrong."""
    begin: list[Step] = draw(st.sampled_from([[Connect(waits=False)]] * 9 + [[]]))
    end: list[Step] = draw(st.lists(st.one_of(CLOSE, CLOSE, ANY_STEP, st.builds(Connect, WAITS)), max_size=3))
    return Plan(
        steps=begin + draw(st.lists(ANY_STEP_OR_CRASH, min_size=6, max_size=24)) + end,
        capacity=draw(st.sampled_from([1, 2, 500])),
        policy=draw(st.sampled_from(RealtimeOverflowPolicy)),
        tail_s=draw(st.sampled_from([15.0, 0.05, 0.0])),
        stale_after_s=draw(st.sampled_from([None, None, 0.5])),
        span=draw(st.sampled_from([None, MediaSpan(2, 1.0), MediaSpan(50, 1.0)])),
        nowait=draw(st.booleans()),
        suspending=draw(st.booleans()),
    )


PLANS = plans()
