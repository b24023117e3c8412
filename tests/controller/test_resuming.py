"""Taking up a session whose process is dead: what is recorded, what goes on, and what is refused."""

from __future__ import annotations

from typing import Any

import anyio
import attrs
import pytest

from realtime_async import MediaSpan, RealtimeSessionController, RealtimeSessionSidecar
from realtime_async.adapters.scripted import Delay, Drop, FrameFate, Refuse, Script, ScriptedAdapter
from realtime_async.errors import (
    ContractViolation,
    JournalConflict,
    JournalCorrupt,
    ProviderFailure,
    SessionStateError,
)
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    EffectId,
    JournalCursor,
    JournalRecord,
    RealtimeConnectRequest,
    RealtimeConnectResponse,
    RealtimeOutputFrame,
    RunId,
    StreamCursor,
)
from tests.controller.recording import RecordedJournal
from tests.controller.staged import FRAME, Stage, StagedSession, audio, plain_sidecar, text

pytestmark = pytest.mark.virtual_time

SPAN = MediaSpan(frames=50, seconds=60.0)


class AskedAdapter(ScriptedAdapter):
    """Remembers what it was asked to connect."""

    def __init__(self, kept: StreamCursor | None = None) -> None:
        super().__init__()
        self.request: RealtimeConnectRequest | None = None
        self._kept = kept

    async def connect(self, request: RealtimeConnectRequest) -> RealtimeConnectResponse:
        self.request = request
        return attrs.evolve(await super().connect(request), input_kept_through=self._kept)


async def test_a_session_goes_on_where_its_records_end(stage: Stage) -> None:
    before = await stage.connected()
    for _ in range(3):
        await before.controller.send(text())
    await before.controller.restart()
    stood = before.controller.state

    after = await stage.resumed(before, AskedAdapter())

    assert (await after.kinds())[-3:] == ["session_recovered", "connect_requested", "connected"]
    assert [record.journal_seq for record in await after.records()] == list(range(1, 15))
    state = after.controller.state
    assert state == attrs.evolve(
        stood, connection_id=state.connection_id, lifecycle_status=state.lifecycle_status
    )
    # What the provider had shown to know is in no record.
    assert after.controller.delivery == attrs.evolve(
        before.controller.delivery, confirmed_through=StreamCursor()
    )
    record = await after.controller.send(text())
    assert record.send_cursor == StreamCursor.chunk(4)


async def test_the_provider_is_told_of_the_connection_before(stage: Stage) -> None:
    before = await stage.connected()
    await before.controller.restart()
    provider = AskedAdapter()

    await stage.resumed(before, provider)

    assert provider.request is not None
    assert provider.request.previous_connection_id == before.controller.state.connection_id


async def test_a_session_that_never_had_a_connection_names_none(stage: Stage) -> None:
    before = stage.session(ScriptedAdapter(Script(faults={("connect", 1): Refuse()})))
    with pytest.raises(ProviderFailure):
        await before.controller.connect()
    provider = AskedAdapter()

    await stage.resumed(before, provider)

    assert provider.request is not None
    assert provider.request.previous_connection_id is None


async def test_what_waited_in_the_gate_is_dropped_in_order(stage: Stage) -> None:
    before = await stage.connected(
        ScriptedAdapter(Script(faults={("send", 2): Drop(FrameFate.NOT_SENT)})), sidecar=plain_sidecar()
    )
    await before.controller.send(text(1))
    for number in (2, 3, 4):
        await before.controller.send(text(number))

    after = await stage.resumed(before, ScriptedAdapter())

    dropped = [record.payload for record in await after.records() if record.payload.kind == "input_dropped"]
    assert [str(payload.frame_id) for payload in dropped] == ["text.2", "text.3", "text.4"]
    assert [payload.backpressure_state.queued_frames for payload in dropped] == [2, 1, 0]
    assert (after.controller.delivery.sent, after.controller.delivery.dropped) == (1, 3)
    assert after.provider.sent == []


async def test_a_frame_that_was_given_twice_waits_twice_in_the_records_too() -> None:
    before = StagedSession()
    await before.controller.connect()
    await before.controller.begin_restart()
    again = text(1)
    for frame in (again, text(2), again):
        await before.controller.send(frame)

    accepted = before.controller.delivery.accepted

    after = await before.resumed(ScriptedAdapter())

    dropped = [record.payload for record in await after.records() if record.payload.kind == "input_dropped"]
    assert [str(payload.frame_id) for payload in dropped] == ["text.1", "text.2", "text.1"]
    assert after.controller.delivery.accepted == accepted == after.controller.delivery.dropped == 3
    await after.controller.close()
    with pytest.raises(JournalConflict):
        await before.controller.close()


async def test_a_frame_that_was_refused_and_given_again_to_the_gate_counts_twice() -> None:
    """A restart has begun while it was in flight, and has no record yet."""
    before = StagedSession(
        ScriptedAdapter(Script(faults={("send", 1): (Delay(1), Refuse())})), sidecar=plain_sidecar()
    )
    await before.controller.connect()
    frame = text(1)

    async def send_again() -> None:
        with pytest.raises(ProviderFailure):
            await before.controller.send(frame)
        await before.controller.send(frame)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_again)
        await anyio.sleep(0.5)
        await before.controller.begin_restart()
    told = before.controller.delivery
    after = await before.resumed(ScriptedAdapter())

    assert (told.failed, told.queued) == (1, 1)
    assert (after.controller.delivery.failed, after.controller.delivery.dropped) == (1, 1)
    await after.controller.close()
    with pytest.raises(JournalConflict):
        await before.controller.close()


async def test_the_uncertainty_of_a_span_is_what_it_has_reserved(stage: Stage) -> None:
    before = await stage.connected(sidecar=plain_sidecar(span=SPAN))
    for _ in range(30):
        await before.controller.send(audio())

    after = await stage.resumed(before, ScriptedAdapter())

    unknown = [record.payload for record in await after.records() if record.payload.kind == "outcome_unknown"]
    # The record of the span after it was written when the first frame had gone.
    assert [told(payload.extent) for payload in unknown] == [(2, 50, 49), (51, 100, 50)]
    assert (after.controller.delivery.sent, after.controller.delivery.in_doubt) == (1, 99)
    assert after.controller.state.send_cursor == StreamCursor.chunk(100)


async def test_a_span_that_was_reserved_ahead_begins_where_the_one_before_it_ended(stage: Stage) -> None:
    before = await stage.connected(sidecar=plain_sidecar(span=SPAN))
    for _ in range(20):
        await before.controller.send(audio())
    await before.controller.send(text())
    await before.controller.send(audio())

    after = await stage.resumed(before, ScriptedAdapter())

    unknown = [record.payload for record in await after.records() if record.payload.kind == "outcome_unknown"]
    assert [told(payload.extent) for payload in unknown] == [(23, 71, 49), (72, 121, 50)]
    assert (after.controller.delivery.sent, after.controller.delivery.in_doubt) == (22, 99)


async def test_a_receive_span_leaves_its_numbers_behind(stage: Stage) -> None:
    before = await stage.connected(sidecar=plain_sidecar(span=SPAN))
    for _ in range(3):
        before.provider.feed(RealtimeOutputFrame.audio(FRAME))
        await before.controller.receive()

    provider = ScriptedAdapter()
    after = await stage.resumed(before, provider)
    provider.feed(RealtimeOutputFrame.audio(FRAME))
    received = await after.controller.receive()

    assert received is not None
    assert received.frame.cursor == StreamCursor.chunk(101)


def told(extent: Any) -> tuple[int, int, int]:
    return extent.first.chunk_sequence, extent.last.chunk_sequence, extent.frames


async def test_what_the_provider_says_to_know_is_confirmed(stage: Stage) -> None:
    before = await stage.connected()
    for _ in range(3):
        await before.controller.send(text())

    after = await stage.resumed(before, AskedAdapter(StreamCursor.chunk(2)))

    assert after.controller.delivery.confirmed_through == StreamCursor.chunk(2)


async def test_the_report_of_a_restart_speaks_of_what_went_since_the_resume(stage: Stage) -> None:
    before = await stage.connected()
    for _ in range(3):
        await before.controller.send(text())
    after = await stage.resumed(before, ScriptedAdapter(Script(kept_through=[StreamCursor.chunk(0)])))
    await after.controller.send(text())

    report = await after.controller.restart()

    assert [(each.first, each.last) for each in report.replayed] == [(4, 4)]
    assert report.unconfirmed == ()


async def test_a_run_that_was_never_begun_cannot_be_resumed() -> None:
    adapter = ScriptedAdapter()

    with pytest.raises(SessionStateError, match=r"run 'run-1' has no records .* nothing to resume"):
        await RealtimeSessionController.resume(plain_sidecar(), adapter, MemoryJournal(), run_id="run-1")

    assert adapter.calls == []


async def test_a_session_that_ended_cannot_be_resumed(stage: Stage) -> None:
    before = await stage.connected()
    await before.controller.close()
    records = len(await before.records())

    with pytest.raises(
        SessionStateError, match=r"session 'realtime\.session\.run-1' of run 'run-1' has ended"
    ):
        await before.resumed(ScriptedAdapter())
    with pytest.raises(SessionStateError, match="has ended"):
        await before.resumed(ScriptedAdapter(), session_id=before.session_id)

    assert len(await before.records()) == records


async def test_of_several_sessions_the_one_that_is_meant_must_be_named(stage: Stage) -> None:
    journal = RecordedJournal(MemoryJournal())
    one, two = [await stage.connected(journal=journal, session_id=f"session-{name}") for name in ("a", "b")]

    with pytest.raises(
        ContractViolation, match=r"2 sessions that have not ended: .* 'session-a', 'session-b'"
    ):
        await one.resumed(ScriptedAdapter())
    with pytest.raises(SessionStateError, match="no session 'session-c': it has 'session-a', 'session-b'"):
        await one.resumed(ScriptedAdapter(), session_id="session-c")

    await two.controller.close()
    after = await stage.resumed(one, ScriptedAdapter())
    assert after.session_id == "session-a"


async def test_a_session_is_not_resumed_under_another_sidecar_unless_told(stage: Stage) -> None:
    before = await stage.connected()
    other = plain_sidecar(queue_capacity=7)
    adapter = ScriptedAdapter()

    with pytest.raises(ContractViolation, match="allow_other_sidecar=True"):
        await before.resumed(adapter, sidecar=other)

    assert adapter.calls == []
    await before.controller.send(text())
    after = await stage.resumed(before, adapter, sidecar=other, allow_other_sidecar=True)
    assert after.controller.state.backpressure_state.capacity == 7
    again = await stage.resumed(after, adapter, sidecar=other)
    assert again.controller.delivery.sent == 1


async def test_a_program_with_a_fingerprint_of_its_own_answers_for_its_sidecar_itself(stage: Stage) -> None:
    before = await stage.connected(runtime_package_fingerprint="frontdesk@sha256:1f")

    await stage.resumed(before, ScriptedAdapter(), sidecar=RealtimeSessionSidecar.voice_defaults("desk"))


def without(record: JournalRecord) -> list[JournalRecord]:
    return []


def from_the_future(record: JournalRecord) -> list[JournalRecord]:
    return [attrs.evolve(record, schema_version=2)]


def answering_nothing(record: JournalRecord) -> list[JournalRecord]:
    return [
        attrs.evolve(record, payload=attrs.evolve(record.payload, effect_intent_ref=EffectId("effect.none")))
    ]


@pytest.mark.parametrize(
    "damage, found",
    [
        (without, "run 'run-1' has no record 4, but a record 5"),
        (from_the_future, "record 4 of run 'run-1' has schema version 2"),
        (answering_nothing, "record 4 of run 'run-1', input_sent, is the result of no open intent"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_corrupt_run_is_refused_and_its_record_named(damage: Any, found: str) -> None:
    before = StagedSession()
    await before.controller.connect()
    for _ in range(2):
        await before.controller.send(text())
    *first, fourth, fifth, sixth = await before.records()
    journal = Damaged([*first, *damage(fourth), fifth, sixth], 6)
    adapter = ScriptedAdapter()

    with pytest.raises(JournalCorrupt, match=found):
        await RealtimeSessionController.resume(plain_sidecar(), adapter, journal, run_id="run-1")

    assert adapter.calls == []


async def test_a_run_that_ends_before_its_last_record_is_corrupt() -> None:
    before = StagedSession()
    await before.controller.connect()
    journal = Damaged((await before.records())[:1], 2)

    with pytest.raises(JournalCorrupt, match="has a record 2, but none after 1 can be read"):
        await RealtimeSessionController.resume(plain_sidecar(), ScriptedAdapter(), journal, run_id="run-1")


class Damaged(MemoryJournal):
    """Holds *records* of a run, and takes *last* for the last of them."""

    def __init__(self, records: list[JournalRecord], last: int) -> None:
        super().__init__()
        self._runs[RunId("run-1")] = records
        self._last = last

    async def last(self, run_id: RunId) -> JournalCursor | None:
        return JournalCursor(run_id, self._last)


async def test_a_resume_that_finds_no_provider_may_be_tried_again(stage: Stage) -> None:
    before = await stage.connected()
    await before.controller.send(text())

    with pytest.raises(ProviderFailure):
        await before.resumed(ScriptedAdapter(Script(faults={("connect", 1): Refuse()})))

    assert (await before.kinds())[-3:] == ["session_recovered", "connect_requested", "connect_failed"]
    after = await stage.resumed(before, ScriptedAdapter())
    assert (await after.kinds())[-3:] == ["session_recovered", "connect_requested", "connected"]
    assert after.controller.delivery.sent == 1


async def test_a_session_that_was_resumed_in_vain_is_no_new_one(stage: Stage) -> None:
    """A controller that begins anew would give its numbers a second time."""
    before = await stage.connected()
    journal = before.journal
    with pytest.raises(ProviderFailure):
        await before.resumed(
            ScriptedAdapter(Script(faults={("connect", 1): Refuse()})), journal=journal.inner
        )
    beginner = RealtimeSessionController(plain_sidecar(), ScriptedAdapter(), journal.inner, run_id="run-1")

    with pytest.raises(JournalConflict):
        await beginner.connect()

    await stage.resumed(before, ScriptedAdapter())
