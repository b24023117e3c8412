"""What every record says: whose it is, on which channel, and nothing of what was spoken."""

from __future__ import annotations

from typing import Any

import pytest

from realtime_async.adapters.scripted import Script, ScriptedAdapter
from realtime_async.errors import InvalidIdentifier
from realtime_async.ports import (
    InputTranscript,
    OutputText,
    OutputTranscript,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeOutputFrame,
    RealtimeSessionRecord,
    ResponseDone,
    SourceRef,
    ToolCall,
    safe_id_fragment,
)
from tests.controller.staged import FRAME, SECRET, Stage, plain_sidecar, text

pytestmark = pytest.mark.virtual_time


INPUTS: list[tuple[RealtimeInputFrame, str]] = [
    (RealtimeInputFrame.audio(FRAME), "realtime_media"),
    (RealtimeInputFrame.video(FRAME), "realtime_media"),
    (RealtimeInputFrame.image(FRAME), "realtime_media"),
    (RealtimeInputFrame.end_of_turn(), "realtime_media"),
    (RealtimeInputFrame.request_response(SECRET), "realtime_media"),
]


@pytest.mark.parametrize(
    "frame, channel", INPUTS, ids=[str(frame.media_kind) for frame, _ in INPUTS[:3]] + ["end", "ask"]
)
async def test_what_is_sent_is_on_the_channel_of_media(
    stage: Stage, frame: RealtimeInputFrame, channel: str
) -> None:
    staged = await stage.connected()

    record = await staged.controller.send(frame)

    assert (record.channel, record.direction) == (channel, "input_to_provider")
    assert record.media_kind == frame.media_kind
    await staged.check()


async def test_text_and_tool_results_have_channels_of_their_own(stage: Stage) -> None:
    staged = await stage.connected()

    spoken = await staged.controller.send(text())
    result = await staged.controller.send(RealtimeInputFrame.tool_result("call-1", SECRET))

    channels = {"realtime_media", spoken.channel, result.channel}
    assert len(channels) == 3
    assert result.channel == "tool_result_text"
    assert {spoken.direction, result.direction} == {"input_to_provider"}


OUTPUTS: list[tuple[RealtimeOutputFrame, str | None]] = [
    (RealtimeOutputFrame.audio(FRAME), "realtime_media"),
    (RealtimeOutputFrame.of(OutputTranscript(SECRET, final=True)), "realtime_transcript"),
    (RealtimeOutputFrame.of(InputTranscript(SECRET)), "realtime_transcript"),
    (RealtimeOutputFrame.transcript("answer-1", "blob:1", "a greeting"), "realtime_transcript"),
    (RealtimeOutputFrame.of(OutputText(SECRET)), None),
    (RealtimeOutputFrame.of(ToolCall("call-1", "paint", SECRET)), None),
    (RealtimeOutputFrame.of(ResponseDone()), None),
]


@pytest.mark.parametrize(
    "frame, channel",
    OUTPUTS,
    ids=[f"{type(frame.event).__name__}-{n}" for n, (frame, _) in enumerate(OUTPUTS)],
)
async def test_what_is_received_says_its_channel_and_its_direction(
    stage: Stage, frame: RealtimeOutputFrame, channel: str | None
) -> None:
    staged = await stage.connected(ScriptedAdapter(Script([frame])))

    received = await staged.controller.receive()

    assert received is not None
    assert received.record.direction == "output_from_provider"
    assert received.record.media_kind == frame.media_kind
    assert channel is None or received.record.channel == channel
    await staged.check()


async def test_references_and_summaries_are_recorded_and_payloads_are_not(stage: Stage) -> None:
    staged = await stage.connected()

    record = await staged.controller.send(
        RealtimeInputFrame.media_ref(RealtimeMediaKind.IMAGE, "blob:7", "a floor plan")
    )

    assert (record.content_refs, record.redacted_summary) == (("blob:7",), "a floor plan")
    assert (await staged.records())[-1].content_refs == ("blob:7",)


async def test_an_envelope_says_whose_record_it_is(stage: Stage) -> None:
    staged = stage.session(
        sidecar=plain_sidecar(send_policy_ref="policy.send", close_policy_ref="policy.close"),
        run_id="run-7",
        agent_id="agent.desk",
        source=SourceRef("host", "berlin"),
        tags=("tenant:7",),
        runtime_package_fingerprint="mine",
    )
    await staged.controller.connect()

    for record in await staged.records():
        assert (record.run_id, record.agent_id, record.source) == (
            "run-7",
            "agent.desk",
            SourceRef("host", "berlin"),
        )
        assert (record.destination.kind, record.destination.ref) == ("provider", "provider.acme")
        assert (record.subject_ref.kind, record.subject_ref.ref) == ("realtime_session", staged.session_id)
        assert set(record.tags) == {"feature:realtime", "tenant:7"}
        assert record.runtime_package_fingerprint == "mine"
        assert record.redaction_policy_id == "policy.send"
        assert record.payload.policy_refs == ("policy.send", "policy.close")
        assert (record.record_kind, record.event_family) == ("realtime_session", "realtime")
        assert record.event_kind == f"realtime_{record.payload.kind}"


async def test_an_envelope_has_defaults(stage: Stage) -> None:
    staged = await stage.connected()

    record = (await staged.records())[0]

    assert (record.agent_id, record.source) == ("agent.default", SourceRef("host", "realtime_async"))
    assert record.tags == ("feature:realtime",)
    assert record.redaction_policy_id == "policy.redaction.realtime.default"
    assert plain_sidecar().content_hash() in record.runtime_package_fingerprint


@pytest.mark.parametrize("run_id", ["run-1", "r" * 256])
async def test_the_session_is_named_after_its_run(stage: Stage, run_id: str) -> None:
    staged = stage.session(run_id=run_id)

    assert staged.session_id == f"realtime.session.{safe_id_fragment(run_id)}"


@pytest.mark.parametrize("name", ["run_id", "session_id", "agent_id"])
async def test_an_id_that_is_none_is_refused_at_once(stage: Stage, name: str) -> None:
    ids: dict[str, Any] = {name: "not an id"}

    with pytest.raises(InvalidIdentifier):
        stage.session(**ids)


async def test_records_compare_by_what_they_say(stage: Stage) -> None:
    staged = await stage.connected()

    record = await staged.controller.send(text())

    assert isinstance(record, RealtimeSessionRecord)
    assert record in [each.payload for each in await staged.records()]
