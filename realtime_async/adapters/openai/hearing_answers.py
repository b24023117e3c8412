"""
What the provider's events say about its answers: their words, their sound, their tool calls, their end.

`ANSWERS` is a part of the table in `hearing`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from realtime_async.adapters.openai.answers import Answer, PendingCall
from realtime_async.adapters.openai.conversation import Called
from realtime_async.adapters.openai.reading import ServerMessage, usage_of
from realtime_async.adapters.openai.refusals import known_code
from realtime_async.adapters.openai.talk import Talk
from realtime_async.errors import ProviderFailure
from realtime_async.ports import (
    OutputText,
    OutputTranscript,
    ProviderWarning,
    RealtimeOutputFrame,
    ResponseDone,
    ResponseStarted,
    ResponseUsage,
    ToolCall,
)

__all__ = ["ANSWERS"]

_STATUSES = frozenset({"completed", "cancelled", "failed", "incomplete"})


def _response_created(talk: Talk, event: ServerMessage) -> None:
    wire_id = event.within("response").text("id")
    if talk.answers.find(wire_id) is None:
        _begin(talk, wire_id)


def _begin(talk: Talk, wire_id: str) -> Answer:
    answer = talk.answers.began(wire_id, talk.items.unanswered())
    talk.say(ResponseStarted(), answer)
    return answer


def _answer_of(talk: Talk, event: ServerMessage) -> Answer | None:
    """The answer that *event* belongs to; None: it is over."""
    wire_id = event.text("response_id")
    answer = talk.answers.find(wire_id)
    if answer is None:
        # Some servers begin to speak without a word about it.
        return _begin(talk, wire_id)
    return answer if answer is talk.answers.active else None


def _said_in(talk: Talk, answer: Answer, item_id: str) -> bool:
    """Note that *item_id* is an item of *answer*; False: it has too many."""
    if item_id in answer.item_ids:
        return True
    if len(answer.item_ids) >= Answer.ITEMS:
        return False
    answer.item_ids.append(item_id)
    talk.items.answer(talk.key(item_id, answer), answer.response_id)
    return True


def _output_audio(talk: Talk, event: ServerMessage) -> None:
    answer = _answer_of(talk, event)
    if answer is None or _is_told_twice(talk, event):
        return
    item_id, audio = event.text("item_id"), event.audio("delta")
    if len(audio) % talk.config.output_format.bytes_per_sample:
        raise event.malformed("delta")
    if not audio or not _said_in(talk, answer, item_id):
        return
    # What is silenced arrived all the same: the provider counts it.
    answer.audio_bytes[item_id] = answer.audio_bytes.get(item_id, 0) + len(audio)
    if not answer.is_silenced:
        talk.outbox.append(RealtimeOutputFrame.audio(audio, response_id=answer.response_id, item_id=item_id))


def _is_told_twice(talk: Talk, event: ServerMessage) -> bool:
    return talk.names.setdefault(event.kind, event.name) != event.name


def _words(
    frame: Callable[[str, bool], OutputText | OutputTranscript], field: str
) -> Callable[[Talk, ServerMessage], None]:
    """What reads a piece of an answer's words from *field*, or all of them."""
    is_final = field != "delta"

    def heard(talk: Talk, event: ServerMessage) -> None:
        answer = _answer_of(talk, event)
        if answer is None or _is_told_twice(talk, event):
            return
        item_id, text = event.text("item_id"), event.text(field)
        if answer.is_silenced or not _said_in(talk, answer, item_id):
            return
        key = talk.key(item_id, answer)
        held = talk.items.answer(key, answer.response_id)
        if is_final:
            held.text = ""
        held.say(text)
        if is_final:
            talk.items.grown(key)
        if text or is_final:
            talk.say(frame(text, is_final), answer, text)

    return heard


# Tool calls


def _item_added(talk: Talk, event: ServerMessage) -> None:
    answer = _answer_of(talk, event)
    if answer is not None:
        _note_item(talk, answer, event.within("item"))


def _note_item(talk: Talk, answer: Answer, item: ServerMessage) -> None:
    kind, item_id = item.optional_text("type"), item.optional_text("id")
    if kind == "function_call" and len(answer.calls) < Answer.ITEMS:
        call_id = item.text("call_id")
        answer.calls.setdefault(item_id or call_id, PendingCall(call_id, item.optional_text("name") or ""))
    elif kind == "message" and item_id is not None:
        _said_in(talk, answer, item_id)


def _pending(answer: Answer, event: ServerMessage) -> PendingCall | None:
    item_id, call_id = event.optional_text("item_id"), event.optional_text("call_id")
    key = item_id or call_id
    if key is None:
        raise event.malformed("item_id")
    if key not in answer.calls and call_id is not None and len(answer.calls) < Answer.ITEMS:
        answer.calls[key] = PendingCall(call_id, "")
    return answer.calls.get(key)


def _arguments_delta(talk: Talk, event: ServerMessage) -> None:
    answer = _answer_of(talk, event)
    call = None if answer is None else _pending(answer, event)
    if call is not None:
        call.write(event.text("delta"))


def _arguments_done(talk: Talk, event: ServerMessage) -> None:
    answer = _answer_of(talk, event)
    call = None if answer is None else _pending(answer, event)
    if call is not None:
        # It is sent for a call that was cut off, too: whether it is to be made shows in its item.
        _complete(call, event)
        call.is_whole = True


def _complete(call: PendingCall, said: ServerMessage) -> None:
    call.name = said.optional_text("name") or call.name
    arguments = said.optional_text("arguments")
    if arguments is not None:
        call.arguments = ""
        call.write(arguments)


def _item_done(talk: Talk, event: ServerMessage) -> None:
    answer = _answer_of(talk, event)
    if answer is None:
        return
    item = event.within("item")
    _note_item(talk, answer, item)
    if item.optional_text("type") == "function_call":
        _item_called(talk, answer, item)


def _item_called(talk: Talk, answer: Answer, item: ServerMessage) -> None:
    call = answer.calls.get(item.optional_text("id") or item.text("call_id"))
    if call is None:
        return
    _complete(call, item)
    if item.optional_text("status") in {None, "completed"}:
        _call(talk, answer, call)
    else:
        call.is_whole = False


def _call(talk: Talk, answer: Answer, call: PendingCall) -> None:
    """Tell the program of *call*, once."""
    if call.call_id in answer.called:
        return
    talk.answers.called(answer, call.call_id)
    talk.items.call(f"call.{call.call_id}", Called(call.call_id, call.name, call.arguments))
    talk.say(ToolCall(call.call_id, call.name, call.arguments), answer, call.arguments)


# The end of an answer


def _response_done(talk: Talk, event: ServerMessage) -> None:
    response = event.within("response")
    wire_id = response.text("id")
    answer = talk.answers.find(wire_id) or _begin(talk, wire_id)
    if answer is not talk.answers.active:
        return
    try:
        status, usage = _ended_as(talk, answer, response)
    except ProviderFailure:
        # It says nothing that can be read, but that it is over: what waits for that must not wait for ever.
        _end(talk, answer, "incomplete", None)
        raise
    _end(talk, answer, status, usage)


def _ended_as(talk: Talk, answer: Answer, response: ServerMessage) -> tuple[str, ResponseUsage | None]:
    """
    How *answer* ended, and what it cost.

    Raises:
        ProviderFailure: The provider doesn't say it in words that anybody knows.
    """
    said = response.optional_text("status")
    # One server reports an answer that was cut off as completed; what it doesn't say is taken for that, too.
    status = "completed" if said is None else said if said in _STATUSES else "incomplete"
    usage, items = usage_of(response), response.parts("output")
    if status == "completed":
        _call_the_rest(talk, answer, items)
        talk.items.settle(answer.questions)
    if status == "failed":
        error = response.optional_within("status_details").optional_within("error")
        talk.say(ProviderWarning(known_code(error.raw("code"), error.raw("type"))))
    return status, usage


def _end(talk: Talk, answer: Answer, status: str, usage: ResponseUsage | None) -> None:
    talk.answers.ended(answer)
    talk.say(ResponseDone(status, usage), answer)
    talk.pump()


def _call_the_rest(talk: Talk, answer: Answer, items: list[ServerMessage]) -> None:
    """Some servers tell of a tool call only in pieces, or only at the end."""
    for item in items:
        if item.optional_text("type") == "function_call":
            _note_item(talk, answer, item)
            _item_called(talk, answer, item)
    for call in answer.calls.values():
        if call.is_whole:
            _call(talk, answer, call)


ANSWERS: Mapping[str, Callable[[Talk, ServerMessage], None]] = {
    "response.created": _response_created,
    "response.output_item.added": _item_added,
    "response.output_item.done": _item_done,
    "response.output_audio.delta": _output_audio,
    "response.output_audio_transcript.delta": _words(OutputTranscript, "delta"),
    "response.output_audio_transcript.done": _words(OutputTranscript, "transcript"),
    "response.output_text.delta": _words(OutputText, "delta"),
    "response.output_text.done": _words(OutputText, "text"),
    "response.function_call_arguments.delta": _arguments_delta,
    "response.function_call_arguments.done": _arguments_done,
    "response.done": _response_done,
}
