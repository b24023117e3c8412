"""
Whole sessions whose steps overlap: begun together, cut short, and looked at while they are under way.

The oracle looks between any two turns of the event loop, not only when every task waits; and at the end
each single frame has the end that the totals count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import cycle
from typing import Any

import anyio
import attrs
import pytest
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_async import MediaSpan, RealtimeOverflowPolicy
from realtime_async.errors import (
    AgentError,
    AgentErrorKind,
    BackpressureOverflow,
    DeadlineExceeded,
    ProviderFailure,
    SessionStateError,
)
from realtime_async.ports import (
    JournalRecord,
    OutputTranscript,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    SpeechStarted,
)
from realtime_async.testing.clock import BACKENDS, run_virtual
from tests.controller.any_order import ANY_STEP, CLOSE, FOR_EVER_S, SMOOTH, Connect, Feed, Plan, World
from tests.controller.begun import Begun, settled
from tests.controller.recording import Ack, RecordedJournal
from tests.controller.staged import FRAME, SECRET, StagedSession

# The same ones every time in CI, more of them at a desk.
EXAMPLES = 60 if settings.default is not None and settings.default.derandomize else 150


class OpenJournal(RecordedJournal):
    """Keeps what it took where it can be read without waiting."""

    records: list[JournalRecord]

    def append(self, record: JournalRecord) -> Ack:
        ack = super().append(record)
        self.records.append(record)
        return ack


class ClearSession(StagedSession):
    """Looks at the records and at the controller with nothing awaited in between."""

    journal: OpenJournal
    sent_in_order: list[str]

    async def records(self) -> list[JournalRecord]:
        return list(self.journal.records)

    async def check(self) -> None:
        self.accepted = list(self.sent_in_order)
        await super().check()


class BusyWorld(World):
    """Begins operations without waiting for them, unless told to rest."""

    def __init__(self, plan: Plan, tasks: TaskGroup) -> None:
        super().__init__(plan, tasks)
        journal = OpenJournal(self.staged.journal.inner)
        journal.records = []
        self.staged = self.session = ClearSession(
            self.staged.provider, sidecar=plan.sidecar(), journal=journal
        )
        self.session.sent_in_order = []
        self.sends: dict[str, Begun] = {}
        self.begun: list[Begun] = []
        self.rests = True

    async def run(self, operation: Callable[[], Awaitable[object]], *, waits: bool) -> None:
        begun = Begun()
        self.begun.append(begun)
        self.pending.append(begun)
        frame = operation.args[0] if isinstance(operation, partial) and operation.args else None
        if isinstance(frame, RealtimeInputFrame):
            self.sends[str(frame.frame_id)] = begun
            operation = partial(self._send, frame)
        self.tasks.start_soon(begun.run, operation)
        if self.rests and not waits:
            with anyio.fail_after(FOR_EVER_S):
                await begun.over()
        if self.rests:
            await settled()
        self.sweep()

    async def _send(self, frame: RealtimeInputFrame) -> object:
        # Tasks that are begun together start in any order.
        self.session.sent_in_order.append(str(frame.frame_id))
        return await self.session.controller.send(frame)


def ends_of(records: Iterable[JournalRecord], calls: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What the records say became of each frame; one in a span is known by the number it was sent under."""
    returned = {entry["call"] for entry in calls if entry.get("outcome") == "returned"}
    by_number = {
        entry["cursor"]: entry["frame_id"]
        for entry in calls
        if entry["edge"] == "started" and entry["operation"] == "send" and entry["call"] in returned
    }
    ends: dict[str, str] = {}
    for record in records:
        payload = record.payload
        frame_id, extent = str(payload.frame_id), payload.extent
        if payload.kind in {"input_sent", "input_send_failed"} and extent is not None and extent.frames:
            assert extent.first is not None
            first = extent.first.chunk_sequence
            ends |= {by_number[number]: "sent" for number in range(first, first + extent.frames)}
        if payload.kind == "input_sent" and extent is None:
            ends[frame_id] = "sent"
        elif payload.kind == "input_send_failed":
            assert payload.error is not None
            ends[frame_id] = "in_doubt" if payload.error.retry == "unknown_outcome" else "failed"
        elif payload.kind == "input_dropped":
            ends[frame_id] = "dropped"
    return ends


def check_errors(begun: Iterable[Begun]) -> None:
    """An operation fails as the contract says that it may."""
    may = (SessionStateError, BackpressureOverflow, DeadlineExceeded, ProviderFailure)
    for each in begun:
        error = each.error
        if error is not None and not isinstance(error, may):
            assert isinstance(error, AgentError), repr(error)
            assert error.kind is AgentErrorKind.CANCELLED, repr(error)


def check_ends(world: BusyWorld) -> None:
    """Every frame that was accepted is sent, failed, dropped or in doubt, and the totals say so."""
    session = world.session
    ends = ends_of(session.journal.records, session.adapter.log)
    delivery = session.controller.delivery
    told = {name: getattr(delivery, name) for name in ("sent", "failed", "dropped", "in_doubt")}
    assert Counter(ends.values()) == Counter(told)
    assert delivery.queued == 0
    assert delivery.accepted == len(ends)
    returned = {frame_id for frame_id, send in world.sends.items() if send.result is not None}
    assert returned <= ends.keys(), returned - ends.keys()
    for frame in session.provider.sent:
        assert ends[str(frame.frame_id)] in {"sent", "in_doubt"}
    refused = len(world.sends) - len(ends)
    assert 0 <= delivery.refused <= refused


async def listen(world: BusyWorld) -> None:
    """Receive whatever comes until the session has closed; others bring a lost connection back."""
    while world.session.controller.state.lifecycle_status not in {"closed", "failed", "detached"}:
        with suppress(AgentError):
            await world.session.controller.receive()
        await anyio.sleep(0.05)


async def play(plan: Plan, rests: list[bool], listens: bool) -> None:
    """Take the steps of *plan*, some of them before the one before them is over, and close."""
    async with anyio.create_task_group() as tasks:
        world = BusyWorld(plan, tasks)
        controller = world.session.controller
        if listens:
            tasks.start_soon(listen, world)
        for step, world.rests in zip(plan.steps, cycle([True, *rests]), strict=False):
            await step.take(world)
            await world.session.check()
            await checkpoint()
            await world.session.check()
        world.rests = True
        await world.run(controller.close, waits=False)
        again = await controller.close()
        await world.session.check()
        with anyio.fail_after(FOR_EVER_S):
            for begun in world.begun:
                await begun.over()
    records = world.session.journal.records
    assert again == records[-1].payload
    assert again.kind in {"closed", "close_failed"}
    assert controller.state.lifecycle_status in {"closed", "failed", "detached"}
    check_errors(world.begun)
    check_ends(world)


LISTENED_TO = [
    RealtimeOutputFrame.audio(FRAME, response_id="answer-1"),
    RealtimeOutputFrame.of(OutputTranscript(SECRET, final=False), response_id="answer-1"),
    RealtimeOutputFrame.of(SpeechStarted()),
]
# What a call consists of, and now and then anything else.
STEP: st.SearchStrategy[Any] = st.one_of(
    *[SMOOTH] * 12,
    *[st.builds(Feed, st.sampled_from(LISTENED_TO))] * 6,
    ANY_STEP,
    ANY_STEP,
)
LAST_STEP: st.SearchStrategy[Any] = st.one_of(CLOSE, STEP, st.builds(Connect, st.booleans()))
PLANS = st.builds(
    Plan,
    steps=st.builds(
        lambda steps, last: [Connect(waits=False), *steps, *last],
        st.lists(STEP, min_size=12, max_size=32),
        st.lists(LAST_STEP, max_size=4),
    ),
    capacity=st.sampled_from([1, 2, 4]),
    policy=st.sampled_from(RealtimeOverflowPolicy),
    tail_s=st.sampled_from([15.0, 0.05]),
    stale_after_s=st.sampled_from([None, None, 0.5]),
    span=st.none(),
    nowait=st.booleans(),
    suspending=st.booleans(),
)


@pytest.mark.parametrize("span", [None, MediaSpan(3, 1.0)], ids=["alone", "spans"])
@pytest.mark.parametrize("anyio_backend", BACKENDS)
@settings(max_examples=EXAMPLES)
@given(plan=PLANS, rests=st.lists(st.booleans(), min_size=3, max_size=9), listens=st.booleans())
def test_the_invariants_hold_while_operations_overlap(
    anyio_backend: str, span: MediaSpan | None, plan: Plan, rests: list[bool], listens: bool
) -> None:
    run_virtual(play, attrs.evolve(plan, span=span), rests, listens, backend=anyio_backend)
