"""
Calls in which something else goes wrong than a plain outage, and what became of them.

Somebody speaks like a clock to a server on loopback, which says what it heard, and how often it was dialled.
What goes wrong, and how the call is to go on or to end, is a `Call`; what came of it is an `Account`, which
`tests.faults.promises` judges.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import anyio
import attrs
import orjson

from realtime_async import (
    Delivery,
    MediaSpan,
    ProviderConnectionLost,
    RealtimeInputFrame,
    RealtimeSession,
    RealtimeSessionSidecar,
    RestartExhausted,
    RestartPolicy,
    RestartReport,
    open_session,
)
from realtime_async.adapters.openai import FunctionTool, OpenAIRealtimeAdapter, OpenAIRealtimeConfig
from realtime_async.ports import GoAway, OutputAudio, ResponseDone, Restarted, RunJournal, ToolCall
from realtime_async.testing.journals import FaultyJournal, JournalFault
from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.hearing import TurnsByNumber, numbered_audio
from realtime_async.testing.loopback.openai import Answer, LoopbackOpenAI, Moment, OpenAIScript
from realtime_async.testing.loopback.openai import Call as Asked
from tests.faults.outage import FRAME_S, INSTRUCTIONS

__all__ = [
    "FAULTS",
    "NOBODY_ANSWERS",
    "SPAN",
    "TOOL_ASKED",
    "WAITS_FOR_THE_GOODBYE",
    "Account",
    "Call",
    "hold",
]

SPAN = MediaSpan(frames=50, seconds=60.0)
# Connection, receive and the first two spans are written; the third intent is, when the second span begins.
STALLED_APPEND = 6

TURNS = TurnsByNumber([(5, 20)])
NOBODY_ANSWERS = OpenAIScript(turns=None)
TOOL_ASKED = OpenAIScript(turns=TURNS, answers=[Answer(text=None, calls=[Asked("book")])])
# Held until the program has heard the goodbye, so that this comes in the midst of it on any machine.
WAITS_FOR_THE_GOODBYE = OpenAIScript(
    turns=TURNS, answers=[Answer(audio_ms=3000, delta_ms=20, pace_s=0.02, hold_after=10)]
)

Fault = Callable[[LoopbackOpenAI, float], None]


def _kicked(event: str, moment: Moment) -> Fault:
    """End the connection, and each new one when it comes to *event*."""

    def begin(server: LoopbackOpenAI, seconds: float) -> None:
        over = time.monotonic() + seconds

        def kick() -> None:
            if time.monotonic() < over:
                server.at(event, kick, moment=moment)
                server.drop(DropHow.CLOSE, code=1013, reason="Try again later.")

        kick()

    return begin


def _refused(status: int) -> Fault:
    def begin(server: LoopbackOpenAI, seconds: float) -> None:
        server.refuse(seconds=seconds, status=status)
        server.drop(DropHow.CLOSE, code=1013)

    return begin


# Each lasts as long as it is told.
FAULTS: Mapping[str, Fault] = {
    "kicked": _kicked("session.created", Moment.BEFORE),
    "welcomed, then kicked": _kicked("session.updated", Moment.AFTER),
    "asked, then kicked": _kicked("response.created", Moment.AFTER),
    "begun, then kicked": _kicked("response.output_audio.delta", Moment.AFTER),
    "key refused": _refused(401),
    "away": _refused(503),
    "none": lambda server, seconds: None,
}


@attrs.frozen
class Call:
    fault: str
    seconds: float = 0.0
    begins: int | str = 40
    """With the frame of that number, or when the server has sent the first event of that type."""
    frames: int = 150
    """How many the sound card makes, unless the call ends before."""
    card_frames: int = 50
    """What the sound card keeps while its program is busy."""
    policy: RestartPolicy = attrs.field(factory=RestartPolicy)
    script: OpenAIScript = attrs.field(factory=lambda: OpenAIScript(turns=TURNS))
    ends: bool = False
    """Whether its connection cannot be replaced."""
    dials: int | None = None
    """So many, no more and no less; None: no more than the policy has for so long a fault, or one for each goodbye."""
    answers: int = 1
    restarts: int = 1
    """At least."""
    goes_away_after_s: float | None = None
    """When the connection's end is announced; None: never."""
    tool_s: float | None = None
    """How long the tool takes; None: until the connection has been replaced."""
    stall_s: float | None = None
    """How long the journal stalls; None: it does not."""


@attrs.define
class Account:
    """What each side knows of a call."""

    call: Call
    spoken: list[int] = attrs.field(factory=list)
    """The numbers of the frames that were given to the session."""
    taken_at: list[float] = attrs.field(factory=list)
    """When `send` was done with each of them."""
    lost_by_the_card: list[int] = attrs.field(factory=list)
    stalled_from: int | None = None
    """The number of the first frame that was sent beside a journal that had stalled; None: it had not."""
    told: list[str] = attrs.field(factory=list)
    """Ends of answers, goodbyes, restarts and tool calls, in the order in which the program heard of them."""
    reports: list[RestartReport] = attrs.field(factory=list)
    audio_bytes: int = 0
    """Of all answers."""
    executed: int = 0
    replaced: anyio.Event = attrs.field(factory=anyio.Event)
    went_on: anyio.Event = attrs.field(factory=anyio.Event)
    ended_by: RestartExhausted | None = None
    delivery: Delivery = attrs.field(factory=Delivery)
    dials: int = 0
    """Connections and refused handshakes, by the server's count."""
    heard: list[list[int]] = attrs.field(factory=list)
    """The numbers, by connection."""
    tool_results: list[int] = attrs.field(factory=list)
    """How many the server was told, by connection."""
    errors: list[str] = attrs.field(factory=list)
    """What the server refused."""
    instructions: str = ""
    """With which the last connection was configured."""

    @property
    def answers(self) -> int:
        return self.told.count("completed")

    @property
    def missing(self) -> set[int]:
        return {*self.spoken}.difference(*self.heard)

    @property
    def unconfirmed(self) -> int:
        return sum(part.last - part.first + 1 for report in self.reports for part in report.unconfirmed)

    @property
    def longest_wait(self) -> tuple[int, float]:
        """After how many frames the next one waited the longest, and for how many seconds."""
        waits = [later - earlier for earlier, later in zip(self.taken_at, self.taken_at[1:], strict=False)]
        longest = max(waits)
        return waits.index(longest) + 1, longest

    @property
    def is_told_all(self) -> bool:
        return self.answers >= self.call.answers and len(self.reports) >= self.call.restarts

    def note(self, what: str) -> None:
        self.told.append(what)
        self.went_on.set()


async def hold(call: Call, journal: RunJournal, *, run_id: str = "call-1") -> Account:
    """Hold *call*; return when it has ended, or the provider has heard all and the program is told all."""
    account = Account(call)
    if call.stall_s is not None:
        journal = FaultyJournal(journal, fail_at=STALLED_APPEND, how=JournalFault.STALL, stall_s=call.stall_s)
    sidecar = RealtimeSessionSidecar.voice_defaults("calls", queue_capacity=max(2000, call.frames), span=SPAN)
    async with LoopbackOpenAI(call.script) as server:
        _arm(call, server)
        async with (
            OpenAIRealtimeAdapter(_config(call, server)) as adapter,
            open_session(sidecar, adapter, journal, run_id=run_id, restart_policy=call.policy) as session,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_listen, session, account, server)
            await _speak(session, account, journal)
            # Where this is in vain, the account says what is missing.
            with anyio.move_on_after(30):
                await _until_told(account)
            if not call.ends:
                with suppress(TimeoutError):
                    await server.until(lambda: call.frames in server.heard)
            account.delivery = session.delivery
            tasks.cancel_scope.cancel()
        _ask(server, account)
    return account


def _arm(call: Call, server: LoopbackOpenAI) -> None:
    def begin() -> None:
        FAULTS[call.fault](server, call.seconds)

    if isinstance(call.begins, int):
        server.when_heard(call.begins, begin)
    else:
        server.at(call.begins, begin)


def _config(call: Call, server: LoopbackOpenAI) -> OpenAIRealtimeConfig:
    config = OpenAIRealtimeConfig(
        model="gpt-realtime",
        api_key=server.key,
        base_url=server.url,
        instructions=INSTRUCTIONS,
        tools=[FunctionTool("book", "Book a table.")],
    )
    if call.goes_away_after_s is None:
        return config
    lifetime_s = 60.0 + call.goes_away_after_s
    return attrs.evolve(config, connection_lifetime_s=lifetime_s, go_away_before_s=60.0)


async def _speak(session: RealtimeSession, account: Account, journal: RunJournal) -> None:
    start = time.monotonic()
    for number in range(1, account.call.frames + 1):
        late = time.monotonic() - (start + number * FRAME_S)
        if late > account.call.card_frames * FRAME_S:
            account.lost_by_the_card.append(number)
            continue
        if late < 0:
            await anyio.sleep(-late)
        stalls = isinstance(journal, FaultyJournal) and journal.run_that_failed is not None
        if stalls and account.stalled_from is None:
            account.stalled_from = number
        try:
            await session.send(RealtimeInputFrame.audio(numbered_audio(number)))
        except RestartExhausted:
            return
        except ProviderConnectionLost:
            # In doubt, which is counted.
            pass
        account.spoken.append(number)
        account.taken_at.append(time.monotonic())


async def _listen(session: RealtimeSession, account: Account, server: LoopbackOpenAI) -> None:
    async def book() -> str:
        account.executed += 1
        if account.call.tool_s is None:
            await account.replaced.wait()
        else:
            await anyio.sleep(account.call.tool_s)
        return "booked"

    try:
        async for frame in session.frames():
            match frame.event:
                case OutputAudio():
                    account.audio_bytes += len(frame.payload or b"")
                case ResponseDone(status):
                    account.note(str(status))
                case ToolCall() as asked:
                    account.note("tool call")
                    await session.answer(asked, book)
                case GoAway():
                    account.note("goodbye")
                    server.go_on()
                case Restarted(report):
                    account.reports.append(report)
                    account.replaced.set()
                    account.note(f"restarted: {report.reason}")
    except RestartExhausted as exhausted:
        account.ended_by = exhausted
        account.went_on.set()


async def _until_told(account: Account) -> None:
    """Wait until the program has heard how the call goes on, or ends."""
    call = account.call
    while account.ended_by is None if call.ends else not account.is_told_all:
        await account.went_on.wait()
        account.went_on = anyio.Event()


def _ask(server: LoopbackOpenAI, account: Account) -> None:
    account.dials = server.connections + server.handshakes_refused
    for connection in server.log:
        account.heard.append([*connection.heard])
        account.errors += connection.errors
        events = [orjson.loads(message) for message in connection.received]
        account.tool_results.append(
            sum(event.get("item", {}).get("type") == "function_call_output" for event in events)
        )
    account.instructions = server.log[-1].session.get("instructions", "")
