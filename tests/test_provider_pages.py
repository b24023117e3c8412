"""The tables of the providers' pages, held to what the adapters do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.genai.types import LiveServerContent

from realtime_async import RealtimeInputFrame
from realtime_async.adapters.gemini import wire as gemini_wire
from realtime_async.adapters.openai.hearing import HEARD, IGNORED
from realtime_async.errors import ProviderFailure
from tests.adapters.gemini.reading import frames_of, new_turns, wire_messages
from tests.adapters.gemini.test_golden import NAMES as GEMINI_CALLS
from tests.adapters.openai.make_golden import CALLS, FRAMES
from tests.adapters.openai.talks import FRAME, events, heard, new_talk, say
from tests.adapters.openai.test_golden import GOLDEN
from tests.adapters.openai.test_golden import NAMES as OPENAI_CALLS

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("openai", "gemini")

SAMPLES: tuple[object, ...] = (True, "SAMPLE", {})
BUILDERS = {
    "audio",
    "text",
    "image",
    "video",
    "tool_result",
    "request_response",
    "end_of_turn",
    "clear_input",
}


def table(provider: str, heading: str) -> dict[str, str]:
    """The rows under *heading*; what stands on the left, and on the right."""
    page = (DOCS / f"provider-{provider}.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return {left.strip(): right.strip() for left, right in rows[2:]}


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def wire_names(left: str) -> Iterator[str]:
    """The events that the left of a row names: `.done` after `response.audio.delta` is `response.audio.done`."""
    before = ""
    for name in quoted(left):
        if name.startswith("."):
            yield f"{before.rpartition('.')[0]}{name}"
        elif name == "error" or "." in name:
            before = name
            yield name


def received_from_openai() -> dict[str, str]:
    return {
        name: right
        for left, right in table("openai", "What is received").items()
        for name in wire_names(left)
    }


def test_the_table_of_openais_events_has_each_that_means_something_and_no_other() -> None:
    assert set(received_from_openai()) == set(HEARD)
    assert not IGNORED & set(HEARD)


@pytest.mark.parametrize("name", OPENAI_CALLS)
def test_an_event_of_openai_becomes_what_its_row_says(name: str) -> None:
    rows = received_from_openai()
    _, config, _ = CALLS[name.removesuffix("_before_ga")]
    talk = new_talk(**config)
    say(talk, *[RealtimeInputFrame.audio(FRAME)] * FRAMES)

    for line in (GOLDEN / f"{name}.wire.jsonl").read_text(encoding="utf-8").splitlines():
        kind = json.loads(line)["type"]
        kind = kind.replace("response.text.", "response.output_text.").replace(
            "response.audio", "response.output_audio"
        )
        told = rows.get(kind, "nothing")
        for event in events(heard(talk, line)):
            assert type(event).__name__ in told, f"{kind}: {told}"


def known_content() -> Iterator[str]:
    """The members of `serverContent` that are read."""
    for field in LiveServerContent.model_fields.values():
        name = str(field.alias)
        for value in SAMPLES:
            try:
                message = gemini_wire.read_message(json.dumps({"serverContent": {name: value}}))
            except ProviderFailure:
                continue
            if not message.ignored:
                yield name
            break


def test_the_table_of_geminis_messages_has_each_that_is_read_and_no_other() -> None:
    named = {name for left in table("gemini", "What is received") for name in quoted(left)}

    assert named == {*gemini_wire._READERS, *known_content()} - {"serverContent"}


@pytest.mark.parametrize("name", GEMINI_CALLS)
def test_a_message_of_gemini_becomes_what_its_rows_say(name: str) -> None:
    rows = {key: right for left, right in table("gemini", "What is received").items() for key in quoted(left)}
    turns = new_turns()

    for line in wire_messages(name):
        message = json.loads(line)
        members = {*message, *message.get("serverContent", {})}
        told = " ".join(rows.get(member, "") for member in members)
        if "begins an answer" in told:
            told += rows["modelTurn"]
        for frame in frames_of([line], turns):
            assert type(frame.event).__name__ in told, f"{members}: {told}"


@pytest.mark.parametrize("provider", PAGES)
def test_the_table_of_what_is_sent_has_each_frame_that_can_be_made(provider: str) -> None:
    named = {name for left in table(provider, "What is sent") for name in quoted(left)}

    assert named - {"media_ref"} == BUILDERS
    assert all(callable(getattr(RealtimeInputFrame, name)) for name in named)
