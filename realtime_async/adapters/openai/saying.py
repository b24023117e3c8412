"""
From the program's frames to messages for the provider.

`message_for` changes nothing: a frame counts once the transport has taken it, and then `sent` says so.
"""

from __future__ import annotations

from realtime_async.adapters.openai import wire
from realtime_async.adapters.openai.answers import Answer, Request
from realtime_async.adapters.openai.config import OpenAIRealtimeConfig, session_update
from realtime_async.adapters.openai.talk import Talk
from realtime_async.errors import ContractViolation, ProviderFailure, RetryClassification
from realtime_async.ports import InputSignal, RealtimeInputFrame, RealtimeMediaKind, heard_items

__all__ = ["configure", "interrupt", "interrupt_meanwhile", "message_for", "sent", "update"]

_Kind = RealtimeMediaKind

# Decoded, in one message; the provider's limit.
MAX_AUDIO_BYTES = 15 * 2**20
_PICTURES = ("image/png", "image/jpeg")
_ITEMS = frozenset({_Kind.TEXT, _Kind.IMAGE, _Kind.VIDEO, _Kind.TOOL_RESULT})


def message_for(talk: Talk, frame: RealtimeInputFrame) -> str | None:
    """
    What *frame* is on the wire; None: it needs no message, or not now.

    Raises:
        ProviderFailure: The provider takes no such frame, or not as many requests.
    """
    kind, payload = frame.media_kind, frame.payload
    if kind is _Kind.AUDIO and isinstance(payload, bytes):
        _check_audio(talk, frame, payload)
        return wire.append_audio(payload) if payload else None
    number = _number(talk, frame)
    if kind is _Kind.CONTROL and frame.signal is not None:
        return _signal(talk, frame, number)
    if kind not in _ITEMS or payload is None:
        raise _cannot_take(
            f"a frame of {kind} with {len(frame.content_refs)} content references and no payload"
        )
    if talk.items.has_frame(number):
        # Said again after a restart, and put back already.
        return None
    return wire.create_item(_item(talk, frame), talk.next_event_id("item"))


def sent(talk: Talk, frame: RealtimeInputFrame) -> None:
    """The transport has *frame*, or `message_for` has found nothing to give it."""
    number, payload = _number(talk, frame), frame.payload
    if frame.media_kind is _Kind.AUDIO and isinstance(payload, bytes):
        talk.input.sent(number, payload)
        return
    talk.input.timeline.passed(number)
    if frame.media_kind is _Kind.CONTROL:
        _signalled(talk, frame, number)
    elif talk.items.has_frame(number):
        talk.answers.passed(frame.call_id)
    else:
        _, _, key = talk.draw_event_id("item").partition("_")
        talk.items.place(key, _item(talk, frame), number=number, size=_size(frame))
        talk.answers.given(frame.call_id)
        talk.pump()


def _number(talk: Talk, frame: RealtimeInputFrame) -> int:
    return talk.input.timeline.number_of(None if frame.cursor is None else frame.cursor.chunk_sequence)


def _size(frame: RealtimeInputFrame) -> int:
    size = frame.payload_bytes()
    # Pictures are held as base64.
    return size if isinstance(frame.payload, str) else size * 4 // 3


def _cannot_take(what: str) -> ProviderFailure:
    return ProviderFailure(
        f"OpenAI Realtime takes no {what}: send audio, text, PNG or JPEG pictures, tool results and signals",
        code="unsupported_frame",
        retry=RetryClassification.NOT_RETRYABLE,
    )


def _check_audio(talk: Talk, frame: RealtimeInputFrame, audio: bytes) -> None:
    if frame.audio_format is not None and frame.audio_format != talk.config.input_format:
        raise _cannot_take(f"audio in {frame.audio_format} in a session of {talk.config.input_format}")
    if len(audio) > MAX_AUDIO_BYTES:
        raise _cannot_take(f"{len(audio)} bytes of audio at once, more than {MAX_AUDIO_BYTES}")


def _item(talk: Talk, frame: RealtimeInputFrame) -> wire.Item:
    payload = frame.payload
    if isinstance(payload, bytes):
        if frame.mime_type not in _PICTURES:
            raise _cannot_take(f"{frame.media_kind} of type {frame.mime_type!r}")
        return wire.user_image(payload, frame.mime_type)
    text = payload or ""
    if frame.media_kind is not _Kind.TOOL_RESULT:
        return wire.user_text(text)
    call_id = frame.call_id or ""
    if talk.items.knows_call(call_id):
        return wire.call_output(call_id, text)
    return wire.told_result(call_id, text)


# Signals


def _signal(talk: Talk, frame: RealtimeInputFrame, number: int) -> str | None:
    is_settled = number <= talk.input.settled_through
    match frame.signal:
        case InputSignal.END_OF_TURN if not is_settled:
            return wire.commit(talk.next_event_id("commit"))
        case InputSignal.CLEAR_INPUT if not is_settled:
            return wire.CLEAR
        case InputSignal.REQUEST_RESPONSE if not talk.answers.has_frame(number):
            if talk.answers.goes_at_once(_instructions(frame)):
                return wire.create_response(talk.next_event_id("response"), _instructions(frame))
            talk.answers.check_room()
    return None


def _signalled(talk: Talk, frame: RealtimeInputFrame, number: int) -> None:
    if frame.signal is InputSignal.REQUEST_RESPONSE and not talk.answers.has_frame(number):
        talk.answers.ask(Request(talk.draw_event_id("response"), number, _instructions(frame)))
        return
    # A request that comes later is not about what a tool returned before it.
    talk.answers.passed(None)
    is_settled = number <= talk.input.settled_through
    match frame.signal:
        case InputSignal.END_OF_TURN if not is_settled:
            talk.input.commit_sent(number, talk.draw_event_id("commit"))
        case InputSignal.CLEAR_INPUT if not is_settled:
            talk.input.cleared(number)


def _instructions(frame: RealtimeInputFrame) -> str | None:
    return frame.payload if isinstance(frame.payload, str) else None


# Stopping an answer


def interrupt(talk: Talk, response_id: str | None, played_ms: int | None) -> None:
    """Stop an answer, of which *played_ms* were heard; the messages lie in `to_send` afterwards."""
    answers = talk.answers
    if response_id is None and answers.active is None and answers.is_busy:
        # It was asked for, and hasn't begun.
        talk.to_send.append(wire.cancel(None, talk.draw_event_id("stop")))
        return
    answer = answers.named(response_id)
    if answer is None:
        return
    if answers.active is answer and not answer.is_silenced:
        talk.to_send.append(wire.cancel(answer.wire_id, talk.draw_event_id("stop")))
    talk.silence(answer)
    if played_ms is not None and not answer.is_cut:
        _cut(talk, answer, played_ms)


def interrupt_meanwhile(talk: Talk, response_id: str | None, played_ms: int | None) -> None:
    """Stop an answer while there is no connection: the next one isn't asked for it."""
    answers = talk.answers
    answer = answers.named(response_id)
    if response_id is None and (answers.cut_off is None or answers.cut_off.is_stopped):
        answers.forget_owed()
    if answer is None:
        return
    talk.silence(answer)
    if played_ms is not None and not answer.is_cut:
        _cut(talk, answer, played_ms)


def _cut(talk: Talk, answer: Answer, played_ms: int) -> None:
    """Let the provider remember of *answer* what was heard."""
    rate = talk.config.output_format.bytes_per_second
    sounding = [
        (item_id, answer.audio_bytes[item_id] * 1000 / rate)
        for item_id in answer.item_ids
        if item_id in answer.audio_bytes
    ]
    is_given = answer in (talk.answers.active, talk.answers.cut_off)
    answer.is_cut = True
    for heard in heard_items(sounding, played_ms):
        is_last = heard.item_id == sounding[-1][0]
        if heard.heard_ms >= heard.received_ms and not (is_given and is_last):
            continue
        key = talk.key(heard.item_id, answer)
        held = talk.items.answered(key)
        if held is not None:
            held.heard_ms, held.received_ms = heard.heard_ms, heard.received_ms
        if not heard.heard_ms:
            talk.items.drop(key)
        if not talk.answers.is_here(answer):
            # Another connection gave it: this one knows its words, and no item of that id.
            continue
        event_id = talk.draw_event_id("stop")
        if heard.heard_ms:
            talk.to_send.append(wire.truncate_item(heard.item_id, heard.heard_ms, event_id))
        else:
            talk.to_send.append(wire.delete_item(heard.item_id, event_id))


# The configuration


def configure(talk: Talk) -> str:
    """What a new connection is told first."""
    return wire.update_session(session_update(talk.config), talk.draw_event_id("session"))


# What a connection was opened with, and what no `session.update` changes.
_FIXED = ("model", "base_url", "key_header", "input_format", "output_format")


def update(talk: Talk, config: OpenAIRealtimeConfig) -> None:
    """
    Let the session be as *config* says; the message lies in `to_send` afterwards.

    Raises:
        ContractViolation: That is nothing that can change.
    """
    fixed = [name for name in _FIXED if getattr(config, name) != getattr(talk.config, name)]
    if fixed:
        raise ContractViolation(
            f"{', '.join(fixed)} cannot change while a session lives: close it, and open another one"
        )
    before, after = session_update(talk.config), session_update(config)
    if talk.config.instructions is not None and config.instructions is None:
        after["instructions"] = ""
    if talk.config.max_output_tokens is not None and config.max_output_tokens is None:
        after["max_output_tokens"] = "inf"
    changed = _difference(before, after)
    if changed:
        event_id = talk.draw_event_id("session")
        talk.updates.asked(event_id, talk.config, config)
        talk.to_send.append(wire.update_session({**changed, "type": "realtime"}, event_id))
    else:
        talk.updates.made(talk.config, config)
    talk.config = config
    talk.input.finds_turns = config.turns is not None


def _difference(before: dict[str, object], after: dict[str, object]) -> dict[str, object]:
    """The fields of *after* that are new; the provider keeps what it isn't told."""
    changed: dict[str, object] = {}
    for name, value in after.items():
        old = before.get(name)
        # An object within `audio` is merged as well; below that, objects are replaced whole.
        if name in {"audio", "input", "output"} and isinstance(value, dict) and isinstance(old, dict):
            value = _difference(old, value)
            if not value:
                continue
        elif name in before and value == old:
            continue
        changed[name] = value
    return changed
