"""
Records what a provider on loopback says in some calls, and the frames that this comes to.

    python -m tests.adapters.openai.make_golden

Each call is a pair of files: `NAME.wire.jsonl` and `NAME.frames.jsonl`.
Look at what changes before you keep it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio

from realtime_async.adapters.openai import FunctionTool, OpenAIRealtimeAdapter
from realtime_async.ports import RealtimeConnectRequest, RealtimeInputFrame, ResponseDone
from realtime_async.testing.loopback.hearing import TurnsByFrame
from realtime_async.testing.loopback.openai import Answer, AnswerEnd, Call, LoopbackOpenAI, OpenAIScript
from tests.adapters.openai.openai_side import config_for
from tests.adapters.openai.talks import FRAME, Message, heard, new_talk, say, shown

FOLDER = Path(__file__).parent / "golden"
FRAMES = 60
SPOKEN = TurnsByFrame([(5, 30)])
SHORT = Answer(text="Of course.", audio_ms=40, delta_ms=20)
ASK = [RealtimeInputFrame.request_response()]
CALLS: dict[str, tuple[OpenAIScript, dict[str, Any], list[RealtimeInputFrame]]] = {
    "spoken": (OpenAIScript(otherwise=SHORT, turns=SPOKEN), {"transcription": "whisper-1"}, []),
    "written": (OpenAIScript(otherwise=SHORT, turns=None), {"output_modality": "text"}, ASK),
    "tool_call": (
        OpenAIScript(otherwise=Answer(text="I see.", audio_ms=20, calls=[Call("book", '{"persons": 2}')])),
        {"tools": [FunctionTool("book")]},
        ASK,
    ),
    "failed": (OpenAIScript(otherwise=Answer(audio_ms=20, ends=AnswerEnd.RATE_LIMITED), turns=None), {}, ASK),
    "cut_off_by_length": (
        OpenAIScript(otherwise=Answer(audio_ms=20, ends=AnswerEnd.CUT_BY_LENGTH), turns=None),
        {},
        ASK,
    ),
    "spoken_over": (
        OpenAIScript(
            otherwise=Answer(text="And so on.", audio_ms=2_000, delta_ms=20, hold_after=1),
            turns=TurnsByFrame([(5, 30), (45, 60)]),
        ),
        {},
        [],
    ),
}
BETA = {
    "response.output_audio.": "response.audio.",
    "response.output_audio_transcript.": "response.audio_transcript.",
    "response.output_text.": "response.text.",
}


async def record(
    script: OpenAIScript, config: dict[str, Any], asking: list[RealtimeInputFrame]
) -> list[Message]:
    request = RealtimeConnectRequest("call", "provider.openai", "realtime.voice")
    async with (
        LoopbackOpenAI(script) as server,
        OpenAIRealtimeAdapter(config_for(server, **config)) as adapter,
    ):
        await adapter.connect(request)
        for frame in [RealtimeInputFrame.audio(FRAME)] * FRAMES + asking:
            await adapter.send(request.session_id, frame)
        is_over = False
        while not is_over:
            heard = await adapter.receive(request.session_id)
            assert heard is not None
            is_over = isinstance(heard.event, ResponseDone)
        return list(server.log[0].sent)


def older(event: Message) -> Message:
    """*event* as a server says it that speaks the protocol of before."""
    name = event["type"]
    for now, before in BETA.items():
        if name.startswith(now):
            name = before + name.removeprefix(now)
    return {key: value for key, value in {**event, "type": name}.items() if key != "event_id"}


def write(name: str, config: dict[str, Any], wire: list[Message]) -> None:
    talk = new_talk(**{key: value for key, value in config.items() if key != "base_url"})
    say(talk, *[RealtimeInputFrame.audio(FRAME)] * FRAMES)
    frames = [shown(frame) for frame in heard(talk, *map(json.dumps, wire))]
    for kind, lines in (("wire", wire), ("frames", frames)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (FOLDER / f"{name}.{kind}.jsonl").write_text(text, encoding="utf-8")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, (script, config, asking) in CALLS.items():
        wire = anyio.run(record, script, config, asking)
        write(name, config, wire)
        if name in {"spoken", "written"}:
            write(f"{name}_before_ga", config, [older(event) for event in wire])


if __name__ == "__main__":
    main()
