"""A frame takes the payload that its kind bears, and refuses any other by the name of its type."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import pytest

from realtime_async._core.frames import RealtimeInputFrame
from realtime_async._core.media import RealtimeMediaKind
from realtime_async.errors import ContractViolation

SECRET = "the colour of my door is mauve"
BINARY = ("audio", "image", "video")

# What each constructor is given here is what a program that is not type-checked might give it.
CONSTRUCTORS: dict[str, Callable[[Any], RealtimeInputFrame]] = {
    "audio": RealtimeInputFrame.audio,
    "image": RealtimeInputFrame.image,
    "video": RealtimeInputFrame.video,
    "text": RealtimeInputFrame.text,
    "tool_result": lambda output: RealtimeInputFrame.tool_result("call-1", output),
    "control": RealtimeInputFrame.request_response,
}


def of_the_other_type(kind: str) -> bytes | str:
    return SECRET if kind in BINARY else SECRET.encode()


@pytest.mark.parametrize("kind", CONSTRUCTORS)
def test_a_payload_of_the_wrong_type_is_refused_by_its_type(kind: str) -> None:
    payload = of_the_other_type(kind)

    with pytest.raises(ContractViolation) as refused:
        CONSTRUCTORS[kind](payload)

    assert f"a frame of {kind} needs" in str(refused.value)
    assert f"not {type(payload).__name__}" in str(refused.value)
    assert "mauve" not in str(refused.value)


@pytest.mark.parametrize("kind", [kind for kind in CONSTRUCTORS if kind != "control"])
def test_no_payload_is_refused_where_one_is_asked_for(kind: str) -> None:
    with pytest.raises(ContractViolation, match="not NoneType"):
        CONSTRUCTORS[kind](None)


@pytest.mark.parametrize(
    "buffer",
    [bytearray(960), memoryview(bytes(960)), array("h", bytes(960))],
    ids=lambda it: type(it).__name__,
)
def test_a_buffer_is_no_payload(buffer: Any) -> None:
    """A sound card fills the same one again while the frame waits in the gate."""
    with pytest.raises(ContractViolation, match=f"not {type(buffer).__name__}.*must be copied"):
        RealtimeInputFrame.audio(buffer)


@pytest.mark.parametrize("kind", RealtimeMediaKind)
def test_a_frame_built_by_keyword_is_held_to_its_kind_too(kind: RealtimeMediaKind) -> None:
    payload = of_the_other_type(kind)

    with pytest.raises(ContractViolation, match=f"a frame of {kind} needs"):
        RealtimeInputFrame(media_kind=kind, payload=payload)


@pytest.mark.parametrize("kind", RealtimeMediaKind)
def test_a_frame_may_refer_to_its_media_and_bear_none(kind: RealtimeMediaKind) -> None:
    assert RealtimeInputFrame.media_ref(kind, "blob:1").payload is None


def test_a_kind_of_bytes_is_bytes() -> None:
    class Samples(bytes):
        __slots__ = ()

    assert RealtimeInputFrame.audio(Samples(960)).payload == bytes(960)
