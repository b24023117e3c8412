"""A recorded run, played back: what happened to the first agent happens to the next one."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import suppress

import anyio
import attrs
import pytest

from realtime_async import MediaSpan, RealtimeSessionSidecar, open_session
from realtime_async.adapters.scripted import (
    Delay,
    Drop,
    EndOfStream,
    FrameFate,
    Hang,
    Operation,
    Played,
    Refuse,
    Script,
    ScriptedAdapter,
)
from realtime_async.errors import (
    ContractViolation,
    DeadlineExceeded,
    ProviderConnectionLost,
    ProviderFailure,
    RetryClassification,
)
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    AudioEncoding,
    AudioFormat,
    InputTranscript,
    JournalCursor,
    JournalRecord,
    OutputAudio,
    OutputText,
    OutputTranscript,
    RealtimeEvent,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeRestartReason,
    RealtimeSessionRecord,
    ResponseDone,
    ResponseStarted,
    Restarted,
    RunId,
    SpeechStarted,
    SpeechStopped,
    StreamChannel,
    StreamCursor,
    ToolCall,
)
from realtime_async.session import RealtimeSession
from realtime_async.testing.playback import ForgetsLast, Pace, script_of

pytestmark = pytest.mark.virtual_time

SPANNED = RealtimeSessionSidecar.voice_defaults("playback")
PLAIN = RealtimeSessionSidecar.voice_defaults("playback", span=None)


class DatedJournal(MemoryJournal):
    """Dates records by the event loop's clock, which is virtual."""

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:  # type: ignore[override]
        return super().append(attrs.evolve(record, timestamp_millis=round(anyio.current_time() * 1000)))


@attrs.define
class Heard:
    """What an agent met, and when: milliseconds since it began."""

    events: list[tuple[int, str]] = attrs.field(factory=list)
    audio_bytes: int = 0


async def agent(session: RealtimeSession) -> Heard:
    """An agent that stops talking when it is interrupted, and restarts when the connection is lost."""
    heard = Heard()
    began = anyio.current_time()
    while True:
        try:
            async for frame in session.frames():
                if isinstance(frame.event, OutputAudio):
                    assert isinstance(frame.payload, bytes)
                    heard.audio_bytes += len(frame.payload)
                    continue
                if isinstance(frame.event, Restarted):
                    continue
                at_ms = round((anyio.current_time() - began) * 1000)
                heard.events.append((at_ms, type(frame.event).__name__))
                if isinstance(frame.event, SpeechStarted):
                    await session.interrupt(played_ms=100)
            return heard
        except ProviderConnectionLost:
            heard.events.append((round((anyio.current_time() - began) * 1000), "lost"))
            await session.restart(RealtimeRestartReason.CONNECTION_LOST)


async def run(
    script: Script, journal: MemoryJournal, sidecar: RealtimeSessionSidecar, seconds: float = 60
) -> Heard:
    heard = Heard()

    async def listen(session: RealtimeSession) -> None:
        nonlocal heard
        heard = await agent(session)

    async with (
        open_session(
            sidecar, ScriptedAdapter(script), journal, run_id="run.1", restart_policy=None
        ) as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listen, session)
        await anyio.sleep(seconds)
        await session.close()
    return heard


async def records_of(journal: MemoryJournal, run_id: str = "run.1") -> list[JournalRecord]:
    return [record async for record in journal.read(RunId(run_id))]


def word(
    event: SpeechStarted | ResponseStarted | ResponseDone | ToolCall, answer: int | None = None
) -> Played:
    return RealtimeOutputFrame.of(event, response_id=None if answer is None else f"response.{answer}")


def speech(frames: int, answer: int) -> list[Played]:
    audio = RealtimeOutputFrame.audio(bytes(960), response_id=f"response.{answer}")
    return [played for _ in range(frames) for played in (Delay(0.02), audio)]


A_CALL: Sequence[Played] = [
    Delay(1),
    word(ResponseStarted(), 1),
    *speech(30, 1),
    word(SpeechStarted()),
    Delay(0.25),
    word(ResponseDone("cancelled"), 1),
    Delay(2),
    Drop(),
    Delay(3),
    word(ResponseStarted(), 2),
    *speech(75, 2),
    word(ToolCall("call.1", "book"), 2),
    word(ResponseDone(), 2),
]


@pytest.mark.parametrize("sidecar", [SPANNED, PLAIN], ids=["spanned", "plain"])
async def test_an_agent_meets_the_recorded_call_once_more(sidecar: RealtimeSessionSidecar) -> None:
    recorded, again = DatedJournal(), DatedJournal()
    faults = {("restart", 1): (Delay(0.5), Refuse("overloaded"))}
    first = await run(Script(A_CALL, faults), recorded, sidecar)

    second = await run(script_of(await records_of(recorded)), again, sidecar)

    assert [name for _, name in first.events] == [
        "ResponseStarted",
        "SpeechStarted",
        "ResponseDone",
        "lost",
        "ResponseStarted",
        "ToolCall",
        "ResponseDone",
    ]
    assert [name for _, name in second.events] == [name for _, name in first.events]
    assert [at_ms for at_ms, _ in second.events] == pytest.approx([at_ms for at_ms, _ in first.events], abs=5)
    assert second.audio_bytes == first.audio_bytes == 105 * 960
    kinds = [record.payload.kind for record in await records_of(again)]
    assert [str(kind) for kind in kinds if "restart" in kind] == [
        "restart_requested",
        "restart_started",
        "restart_failed",
        "restart_started",
        "restart_completed",
    ]


async def test_at_once_nothing_is_waited_for() -> None:
    journal = DatedJournal()
    await run(Script(A_CALL), journal, SPANNED)

    script = script_of(await records_of(journal), pace=Pace.AT_ONCE)

    assert not [item for item in script.frames if isinstance(item, Delay)]
    assert script.faults == {}


async def test_refused_and_lost_sends_come_back_at_the_same_call() -> None:
    journal = DatedJournal()
    script = Script(
        faults={
            ("send", 2): Refuse("invalid_value"),
            ("send", 4): Drop(FrameFate.NOT_SENT),
            ("interrupt", 1): Refuse(),
        },
        kept_through=[StreamCursor.chunk(1)],
    )
    async with open_session(
        PLAIN, ScriptedAdapter(script), journal, run_id="run.1", restart_policy=None
    ) as session:
        for _ in range(4):
            with suppress(ProviderFailure):
                await session.send(RealtimeInputFrame.text("hello"))
        await session.restart()
        with suppress(ProviderFailure):
            await session.interrupt("response.1")

    found = script_of(await records_of(journal), pace=Pace.AT_ONCE)

    assert found.faults == {
        (Operation.SEND, 2): (Refuse("invalid_value"),),
        (Operation.SEND, 4): (Drop(FrameFate.NOT_SENT),),
        (Operation.INTERRUPT, 1): (Refuse(),),
    }
    assert found.kept_through == (ForgetsLast(1),)


async def test_a_call_that_was_never_answered_hangs_again() -> None:
    journal = DatedJournal()
    script = Script(faults={("send", 1): Hang()})
    async with open_session(
        PLAIN, ScriptedAdapter(script), journal, run_id="run.1", restart_policy=None
    ) as session:
        with pytest.raises(DeadlineExceeded):
            await session.send(RealtimeInputFrame.text("hello"))

    found = script_of(await records_of(journal), pace=Pace.AT_ONCE)

    assert found.faults == {(Operation.SEND, 1): (Hang(),)}


@pytest.mark.parametrize("sent, known", [(0, 0), (3, 0), (10, 5)])
def test_a_connection_that_forgets_the_last_frames_knows_those_before(sent: int, known: int) -> None:
    frames = [numbered(number) for number in range(1, sent + 1)]
    said_again = frames[-2:]

    assert ForgetsLast(5)([*frames, *said_again]) == StreamCursor.chunk(known)


def numbered(number: int) -> RealtimeInputFrame:
    return attrs.evolve(RealtimeInputFrame.text("hello"), cursor=StreamCursor.chunk(number))


async def replays(script: Script, journal: MemoryJournal, sends: Sequence[int]) -> list[list[int]]:
    """What an agent has said again that sends so many frames before each restart."""
    async with open_session(
        PLAIN, ScriptedAdapter(script), journal, run_id="run.1", restart_policy=None
    ) as session:
        for frames in sends:
            for _ in range(frames):
                with suppress(ProviderFailure, ProviderConnectionLost):
                    await session.send(RealtimeInputFrame.text("hello"))
            await session.restart()
    extents = [
        record.payload.extent
        for record in await records_of(journal)
        if record.payload.kind == "input_replay_requested"
    ]
    return [
        [extent.first.chunk_sequence, extent.last.chunk_sequence]
        for extent in extents
        if extent is not None and extent.first is not None and extent.last is not None
    ]


LOST = {("send", 3): Drop(FrameFate.VANISHED)}
# Of the replay.
REFUSED = {("send", 5): Refuse(retry=RetryClassification.UNKNOWN_OUTCOME)}


@pytest.mark.parametrize(
    "script, sends, expected",
    [
        (Script(kept_through=[StreamCursor.chunk(0), StreamCursor.chunk(1)]), [3, 1], [[1, 3], [2, 4]]),
        (Script(kept_through=[StreamCursor.chunk(1)], faults=LOST), [3], [[2, 3]]),
        (Script(kept_through=[StreamCursor.chunk(2)], faults=LOST), [3], [[3, 3]]),
        (Script(kept_through=[StreamCursor.chunk(1)], faults=REFUSED), [4], [[2, 4], [3, 4]]),
    ],
    ids=["twice", "with a frame in doubt", "a frame in doubt alone", "in two pieces"],
)
async def test_what_had_been_forgotten_is_forgotten_again(
    script: Script, sends: Sequence[int], expected: list[list[int]]
) -> None:
    journal = DatedJournal()

    recorded = await replays(script, journal, sends)
    again = await replays(script_of(await records_of(journal)), DatedJournal(), sends)

    assert recorded == again == expected


async def test_a_send_that_the_agent_gave_up_counts_as_a_call_and_is_no_fault() -> None:
    journal = DatedJournal()
    script = Script(faults={("send", 1): Hang(), ("send", 2): Refuse()})
    async with open_session(
        PLAIN, ScriptedAdapter(script), journal, run_id="run.1", restart_policy=None
    ) as session:
        with anyio.move_on_after(1):
            await session.send(RealtimeInputFrame.text("hello"))
        with pytest.raises(ProviderFailure):
            await session.send(RealtimeInputFrame.text("hello"))

    found = script_of(await records_of(journal), pace=Pace.AT_ONCE)

    assert found.faults == {(Operation.SEND, 2): (Refuse(),)}


async def test_a_span_that_was_cut_says_at_which_of_its_frames() -> None:
    journal = DatedJournal()
    script = Script(faults={("send", 30): Drop(FrameFate.VANISHED)})
    async with open_session(
        SPANNED, ScriptedAdapter(script), journal, run_id="run.1", restart_policy=None
    ) as session:
        for _ in range(29):
            await session.send(RealtimeInputFrame.audio(bytes(960)))
        with pytest.raises(ProviderConnectionLost):
            await session.send(RealtimeInputFrame.audio(bytes(960)))

    found = script_of(await records_of(journal), pace=Pace.AT_ONCE)

    assert found.faults == {(Operation.SEND, 30): (Drop(FrameFate.VANISHED),)}


async def test_an_end_of_the_stream_that_nobody_asked_for_comes_back() -> None:
    journal = DatedJournal()
    script = Script([EndOfStream()])
    async with open_session(
        PLAIN, ScriptedAdapter(script), journal, run_id="run.1", restart_policy=None
    ) as session:
        assert [frame async for frame in session.frames()] == []

    assert script_of(await records_of(journal), pace=Pace.AT_ONCE).frames == (EndOfStream(),)


@pytest.mark.parametrize("end", [Drop(), EndOfStream()], ids=["lost", "ended"])
async def test_what_came_of_a_span_before_its_connection_ended_comes_back(end: Played) -> None:
    journal = DatedJournal()
    await run(Script([word(ResponseStarted(), 1), *speech(7, 1), end]), journal, SPANNED)

    script = script_of(await records_of(journal))

    kinds = [type(item).__name__ for item in script.frames if not isinstance(item, Delay)]
    # The answer's beginning, and its audio.
    assert kinds == ["RealtimeOutputFrame"] * 8 + [type(end).__name__]


async def test_words_are_placeholders_unless_they_are_filled_in() -> None:
    def fill(record: RealtimeSessionRecord, frame: RealtimeOutputFrame) -> RealtimeOutputFrame:
        if record.channel is not StreamChannel.ASSISTANT_TEXT:
            return frame
        return attrs.evolve(frame, event=OutputText("hello", final=True))

    journal = DatedJournal()
    said: list[RealtimeEvent] = [
        OutputText("secret", True),
        OutputTranscript("secret", True),
        ToolCall("call.1", "secret"),
    ]
    frames = [RealtimeOutputFrame.of(event, response_id="response.1") for event in said]
    frames.append(RealtimeOutputFrame.of(InputTranscript("secret", True)))
    await run(Script(frames), journal, PLAIN)
    records = await records_of(journal)

    plain, filled = events_of(script_of(records)), events_of(script_of(records, fill=fill))

    assert [type(event) for event in plain] == [OutputText, OutputTranscript, ToolCall, InputTranscript]
    assert "secret" not in str([attrs.asdict(event) for event in plain])
    assert filled == [OutputText("hello", final=True), *plain[1:]]


def events_of(script: Script) -> list[RealtimeEvent]:
    return [item.event for item in script.frames if isinstance(item, RealtimeOutputFrame)]


async def test_a_record_that_names_its_event_is_taken_at_its_word() -> None:
    journal = DatedJournal()
    frame = RealtimeOutputFrame.of(SpeechStarted(100))
    await run(Script([attrs.evolve(frame, redacted_summary="speech_stopped")]), journal, PLAIN)

    assert events_of(script_of(await records_of(journal))) == [SpeechStopped()]


async def test_audio_is_silence_in_its_own_encoding() -> None:
    journal = DatedJournal()
    frames = [RealtimeOutputFrame.audio(bytes(range(160)))] * 3
    await run(Script(frames), journal, RealtimeSessionSidecar.voice_defaults("x", span=MediaSpan(3, 1.0)))

    ulaw = AudioFormat(AudioEncoding.G711_ULAW, 8000)
    script = script_of(await records_of(journal), output_format=ulaw)

    audio = [item.payload for item in script.frames if isinstance(item, RealtimeOutputFrame)]
    assert audio == [b"\xff" * 160] * 3


async def test_of_several_sessions_one_must_be_named() -> None:
    journal = DatedJournal()
    for name in ("session.1", "session.2"):
        adapter = ScriptedAdapter(Script([EndOfStream()] if name == "session.2" else []))
        async with open_session(
            PLAIN, adapter, journal, run_id="run.1", session_id=name, restart_policy=None
        ) as session:
            if name == "session.2":
                assert [frame async for frame in session.frames()] == []
    records = await records_of(journal)

    with pytest.raises(ContractViolation, match=r"session\.2"):
        script_of(records)

    assert script_of(records, session_id="session.1").frames == ()
    assert script_of(records, session_id="session.2", pace=Pace.AT_ONCE).frames == (EndOfStream(),)


def test_a_pace_that_there_is_not_is_refused() -> None:
    with pytest.raises(ContractViolation, match="choose one of"):
        script_of([], pace="fast")
