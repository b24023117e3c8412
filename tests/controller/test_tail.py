"""The tail: what a new connection has forgotten is said to it again, in order, before anything else."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from realtime_async import MediaSpan
from realtime_async.adapters.scripted import (
    Drop,
    FrameFate,
    Hang,
    NowaitScriptedAdapter,
    Refuse,
    Script,
    ScriptedAdapter,
)
from realtime_async.errors import ProviderConnectionLost, ProviderFailure
from realtime_async.ports import (
    InputCommitted,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeRestartReason,
    ResponseDone,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    StreamCursor,
)
from tests.controller.begun import begin, settled
from tests.controller.staged import FRAME, Stage, StagedSession, audio, kinds_of, plain_sidecar, text

pytestmark = pytest.mark.virtual_time

LOST = RealtimeRestartReason.CONNECTION_LOST
KNOWS_NOTHING = StreamCursor.chunk(0)


def forgetful(*events: RealtimeOutputFrame, kept: StreamCursor | None = KNOWS_NOTHING) -> ScriptedAdapter:
    """A provider whose next connection knows the input up to *kept*."""
    return ScriptedAdapter(Script(events, kept_through=[kept]))


async def talked(stage: Stage, frames: Sequence[RealtimeInputFrame], **options: object) -> StagedSession:
    """A session that sent *frames*, one every 20 ms."""
    staged = await stage.connected(options.pop("provider", None) or forgetful(), **options)  # type: ignore[arg-type]  # options of a staged session
    for frame in frames:
        await staged.controller.send(frame)
        await anyio.sleep(0.02)
    return staged


def numbers(staged: StagedSession, connection: int) -> list[int]:
    """The cursors of the frames that a connection was given."""
    sent = staged.provider.sent_on
    frames = next((sent[name] for name in sent if name.endswith(f".{connection}")), [])
    return [frame.cursor.chunk_sequence for frame in frames if frame.cursor is not None]


async def test_what_a_new_connection_has_forgotten_is_said_again_in_order(stage: Stage) -> None:
    frames = [audio(), text(), audio(), RealtimeInputFrame.end_of_turn()]
    staged = await talked(stage, frames)

    await staged.controller.restart()

    again = staged.provider.sent[4:]
    assert [frame.frame_id for frame in again] == [frame.frame_id for frame in frames]
    assert [frame.payload for frame in again] == [frame.payload for frame in frames]
    assert numbers(staged, 2) == [1, 2, 3, 4]


async def test_a_replay_has_one_intent_and_one_result(stage: Stage) -> None:
    staged = await talked(stage, [audio() for _ in range(5)])
    await staged.controller.begin_restart()

    records = await staged.controller.complete_restart()

    assert kinds_of(records) == ["restart_completed", "input_replay_requested", "input_replayed"]
    extent = records[2].extent
    assert extent is not None
    assert (extent.frames, extent.bytes) == (5, 5 * len(FRAME))
    assert (extent.first, extent.last) == (StreamCursor.chunk(1), StreamCursor.chunk(5))
    delivery = staged.controller.delivery
    assert (delivery.replayed, delivery.sent, delivery.accepted) == (5, 5, 5)
    assert staged.controller.state.send_cursor.chunk_sequence == 5


async def test_only_what_lies_after_the_kept_input_is_said_again(stage: Stage) -> None:
    staged = await talked(stage, [audio() for _ in range(5)], provider=forgetful(kept=StreamCursor.chunk(3)))

    await staged.controller.restart()

    assert numbers(staged, 2) == [4, 5]
    assert staged.controller.delivery.confirmed_through == StreamCursor.chunk(3)


async def test_a_connection_that_knows_everything_is_told_nothing(stage: Stage) -> None:
    staged = await talked(stage, [audio() for _ in range(5)], provider=forgetful(kept=None))
    await staged.controller.begin_restart()

    records = await staged.controller.complete_restart()

    assert kinds_of(records) == ["restart_completed"]
    assert staged.controller.delivery.confirmed_through == StreamCursor.chunk(5)


async def test_the_tail_comes_before_what_was_gated_and_that_before_what_is_new(stage: Stage) -> None:
    staged = await talked(stage, [audio(1), audio(2)])
    await staged.controller.begin_restart()
    await staged.controller.send(audio(3))
    await staged.controller.complete_restart()

    await staged.controller.send(audio(4))

    assert [frame.frame_id for frame in staged.provider.sent[2:]] == [f"audio.{n}" for n in (1, 2, 3, 4)]
    assert numbers(staged, 2) == [1, 2, 3, 4]


async def test_audio_is_kept_by_its_duration(stage: Stage) -> None:
    """Five frames are 0.1 s, however long ago they were said."""
    staged = await talked(stage, [audio() for _ in range(20)], sidecar=plain_sidecar(replay_tail_s=0.1))
    await anyio.sleep(3600)

    await staged.controller.restart()

    assert numbers(staged, 2) in ([16, 17, 18, 19, 20], [15, 16, 17, 18, 19, 20])


async def test_what_is_no_audio_is_kept_by_when_it_was_sent(stage: Stage) -> None:
    staged = await talked(stage, [text()], sidecar=plain_sidecar(replay_tail_s=2.0))
    await anyio.sleep(3)
    await staged.controller.send(text())

    await staged.controller.restart()

    assert numbers(staged, 2) == [2]


async def test_the_tail_is_bounded_in_bytes(stage: Stage) -> None:
    """0.1 s of audio are 4800 bytes: pictures that are larger may not pile up behind it."""
    pictures = [RealtimeInputFrame.image(bytes(3000)) for _ in range(30)]
    staged = await talked(stage, [], sidecar=plain_sidecar(replay_tail_s=0.1))
    for picture in pictures:
        await staged.controller.send(picture)

    await staged.controller.restart()

    again = sum(frame.payload_bytes() for frame in staged.provider.sent[30:])
    assert 0 < again <= 4800 + 3000


async def test_without_a_tail_nothing_is_said_again(stage: Stage) -> None:
    staged = await talked(stage, [audio()], sidecar=plain_sidecar(replay_tail_s=0.0))

    report = await staged.controller.restart()

    assert numbers(staged, 2) == []
    assert [(each.first, each.last) for each in report.unconfirmed] == [(1, 1)]


async def test_frames_in_doubt_are_said_again_and_keep_their_count(stage: Stage) -> None:
    staged = await talked(stage, [audio(), audio()])
    staged.provider.inject("send", Drop(FrameFate.VANISHED))
    with pytest.raises(ProviderConnectionLost):
        await staged.controller.send(audio())

    report = await staged.controller.restart(LOST)

    assert numbers(staged, 2) == [1, 2, 3]
    delivery = staged.controller.delivery
    assert (delivery.sent, delivery.in_doubt, delivery.replayed) == (2, 1, 3)
    assert report.in_doubt == ()


async def test_failed_frames_are_not_said_again(stage: Stage) -> None:
    staged = await talked(stage, [audio()])
    staged.provider.inject("send", Refuse())
    with pytest.raises(ProviderFailure):
        await staged.controller.send(audio())
    await staged.controller.send(audio(9))

    await staged.controller.restart()

    assert [frame.frame_id for frame in staged.provider.sent[-1:]] == ["audio.9"]
    assert numbers(staged, 2) == [1, 2]


def turn(position: int | None, status: str = "completed") -> list[RealtimeOutputFrame]:
    """The provider takes the input up to *position*, and answers."""
    return [
        RealtimeOutputFrame.of(InputCommitted(position)),
        RealtimeOutputFrame.of(ResponseStarted(), response_id="answer-1"),
        RealtimeOutputFrame.of(ResponseDone(status), response_id="answer-1"),
    ]


async def hear(staged: StagedSession, events: Sequence[RealtimeOutputFrame]) -> None:
    staged.provider.feed(*events)
    for _ in events:
        await staged.controller.receive()


async def test_an_answer_that_was_finished_settles_the_audio_up_to_the_position_it_states(
    stage: Stage,
) -> None:
    staged = await talked(stage, [audio() for _ in range(10)])
    await hear(staged, turn(120))

    await staged.controller.restart()

    assert numbers(staged, 2) == [7, 8, 9, 10]


@pytest.mark.parametrize("status", ["cancelled", "incomplete", "failed"])
async def test_an_answer_that_was_not_finished_is_still_owed(stage: Stage, status: str) -> None:
    staged = await talked(stage, [audio() for _ in range(10)])
    await hear(staged, turn(120, status))

    await staged.controller.restart()

    assert numbers(staged, 2) == [*range(1, 11)]


async def test_input_that_was_only_committed_is_not_settled(stage: Stage) -> None:
    staged = await talked(stage, [audio() for _ in range(10)])
    await hear(staged, turn(120)[:2])

    await staged.controller.restart()

    assert numbers(staged, 2) == [*range(1, 11)]


@pytest.mark.parametrize("seen", [1, 2])
async def test_an_answer_settles_nothing_that_only_an_earlier_connection_took(
    stage: Stage, seen: int
) -> None:
    """The new connection was told again, and answers something else: if it ends before it takes that, the next hears it."""
    staged = await talked(stage, [audio() for _ in range(10)], provider=forgetful(kept=KNOWS_NOTHING))
    await hear(staged, turn(120)[:seen])
    await staged.controller.restart()

    await hear(staged, turn(120)[1:])
    await staged.controller.restart()

    assert numbers(staged, 2) == numbers(staged, 3) == [*range(1, 11)]


async def test_a_connection_that_knows_all_goes_on_with_what_was_taken(stage: Stage) -> None:
    provider = ScriptedAdapter(Script(kept_through=[None, KNOWS_NOTHING]))
    staged = await talked(stage, [audio() for _ in range(10)], provider=provider)
    await hear(staged, turn(120)[:2])
    await staged.controller.restart()

    await hear(staged, turn(120)[2:])
    await staged.controller.restart()

    assert numbers(staged, 3) == [7, 8, 9, 10]


async def test_an_answer_to_what_was_said_before_settles_nothing_that_was_said_since(stage: Stage) -> None:
    staged = await talked(stage, [audio() for _ in range(10)])
    await hear(staged, turn(120)[:2])
    for _ in range(5):
        await staged.controller.send(audio())

    await hear(staged, turn(120)[2:])
    await staged.controller.restart()

    assert numbers(staged, 2) == [*range(7, 16)]


async def test_a_commit_without_a_position_means_what_was_sent_a_second_before_it(stage: Stage) -> None:
    staged = await talked(stage, [audio() for _ in range(100)])
    await hear(staged, turn(None))

    await staged.controller.restart()

    again = numbers(staged, 2)
    assert again == [*range(again[0], 101)]
    assert again[0] in {50, 51, 52}


async def test_a_refused_replay_is_recorded_and_the_session_goes_on(stage: Stage) -> None:
    staged = await talked(stage, [audio() for _ in range(3)])
    await staged.controller.begin_restart()
    await staged.controller.send(gated := text())
    staged.provider.inject("send")
    staged.provider.inject("send", Refuse())

    await staged.controller.complete_restart()

    kinds = await staged.kinds()
    assert "input_replay_failed" in kinds
    assert staged.provider.sent[-1].frame_id == gated.frame_id
    assert staged.controller.delivery.queued == 0
    assert (await staged.controller.send(text())).kind == "input_sent"


@pytest.mark.parametrize("fate", list(FrameFate))
async def test_a_connection_that_dies_in_the_replay_is_followed_by_one_that_hears_it_all(
    stage: Stage, fate: FrameFate
) -> None:
    staged = await talked(stage, [audio() for _ in range(5)])
    await staged.controller.begin_restart()
    await staged.controller.send(text())
    staged.provider.inject("send")
    staged.provider.inject("send")
    staged.provider.inject("send", Drop(fate))

    await staged.controller.complete_restart()
    await staged.check()
    await staged.controller.restart(LOST)

    assert numbers(staged, 3) == [1, 2, 3, 4, 5, 6]
    assert staged.controller.delivery.queued == 0


async def test_a_replay_that_was_cancelled_is_taken_up_by_the_next_send(stage: Stage) -> None:
    staged = await talked(stage, [audio() for _ in range(4)])
    await staged.controller.begin_restart()
    staged.provider.inject("send")
    staged.provider.inject("send", Hang())
    async with anyio.create_task_group() as tasks:
        completing = await begin(tasks, staged.controller.complete_restart)
        completing.scope.cancel()
        await settled()
    await staged.check()

    await staged.controller.send(last := text())

    again = numbers(staged, 2)
    assert again[-1] == 5
    assert again[0] == 1
    assert {3, 4} <= set(again)
    assert staged.provider.sent[-1].frame_id == last.frame_id


@pytest.mark.parametrize("kind", [ScriptedAdapter, NowaitScriptedAdapter], ids=["waiting", "nowait"])
@pytest.mark.parametrize("span", [None, MediaSpan(3, 1.0)], ids=["alone", "spans"])
@pytest.mark.parametrize("fate", list(FrameFate))
async def test_wherever_the_connection_dies_all_words_reach_one_that_lives(
    stage: Stage, kind: type[ScriptedAdapter], span: MediaSpan | None, fate: FrameFate
) -> None:
    words = 8
    for dies_at in range(1, words + 1):
        staged = await stage.connected(
            kind(Script(faults={("send", dies_at): Drop(fate)}, kept_through=[KNOWS_NOTHING])),
            sidecar=plain_sidecar(span=span),
            run_id=f"run-{dies_at}",
        )
        for word in range(1, words + 1):
            try:
                await staged.controller.send(RealtimeInputFrame.audio(FRAME, frame_id=f"word.{word}"))
            except ProviderConnectionLost:
                continue

        await staged.controller.restart(LOST)

        heard = staged.provider.sent_on[staged.controller.state.connection_id]
        assert [frame.frame_id for frame in heard] == [f"word.{word}" for word in range(1, words + 1)]


@pytest.mark.parametrize(
    "event, confirmed",
    [
        (SpeechStarted(60), 3),
        (SpeechStopped(79), 3),
        (SpeechStopped(80), 4),
        (InputCommitted(200), 10),
        (InputCommitted(10_000), 10),
        (InputCommitted(None), 0),
        (SpeechStarted(None), 0),
        (SpeechStarted(0), 0),
    ],
    ids=str,
)
async def test_a_position_shows_what_the_provider_knows(
    stage: Stage, event: SpeechStarted | SpeechStopped | InputCommitted, confirmed: int
) -> None:
    staged = await talked(stage, [audio() for _ in range(10)])

    await hear(staged, [RealtimeOutputFrame.of(event)])

    assert staged.controller.delivery.confirmed_through == StreamCursor.chunk(confirmed)


async def test_what_was_shown_to_be_known_stays_known(stage: Stage) -> None:
    staged = await talked(stage, [audio() for _ in range(10)])

    await hear(
        staged, [RealtimeOutputFrame.of(SpeechStopped(100)), RealtimeOutputFrame.of(SpeechStarted(40))]
    )

    assert staged.controller.delivery.confirmed_through == StreamCursor.chunk(5)
