"""
From the provider's messages to frames: what each event means, as a table.

Nothing that a server sends raises here: what can't be read becomes a `ProviderFailure` in the outbox.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from realtime_async.adapters.openai.hearing_answers import ANSWERS
from realtime_async.adapters.openai.reading import ServerMessage, read
from realtime_async.adapters.openai.refusals import PASSING, Refusal, Weight, refusal_of
from realtime_async.adapters.openai.talk import Talk
from realtime_async.errors import ProviderFailure, RetryClassification
from realtime_async.ports import (
    InputCommitted,
    InputTranscript,
    ProviderWarning,
    SpeechStarted,
    SpeechStopped,
)

__all__ = ["HEARD", "IGNORED", "hear"]


def hear(talk: Talk, message: str | bytes) -> None:
    """Take *message* in; what it means lies in the outbox of *talk* afterwards."""
    try:
        event = read(message)
        heard = HEARD.get(event.kind)
        if heard is not None:
            heard(talk, event)
        elif event.kind not in IGNORED:
            talk.unknown_events += 1
    except ProviderFailure as failure:
        talk.outbox.append(failure)


# The session


def _session_created(talk: Talk, event: ServerMessage) -> None:
    talk.is_begun = True
    expires_at = event.optional_within("session").raw("expires_at")
    if isinstance(expires_at, int | float) and not isinstance(expires_at, bool):
        talk.expires_at = float(expires_at)


def _conversation_created(talk: Talk, event: ServerMessage) -> None:
    # One compatible server begins with it.
    talk.is_begun = True


def _session_updated(talk: Talk, event: ServerMessage) -> None:
    talk.is_configured = True
    talk.updates.confirmed()


# The input


def _speech_started(talk: Talk, event: ServerMessage) -> None:
    position = talk.input.speech_started(event.milliseconds("audio_start_ms"))
    if talk.config.stops_by_itself:
        talk.answers.interrupted()
    talk.say(SpeechStarted(position))


def _speech_stopped(talk: Talk, event: ServerMessage) -> None:
    talk.say(SpeechStopped(talk.input.speech_stopped(event.milliseconds("audio_end_ms"))))


def _timeout_triggered(talk: Talk, event: ServerMessage) -> None:
    # Silence is committed, too, when it lasts long enough; nobody spoke.
    talk.input.speech_started(event.milliseconds("audio_start_ms"))
    talk.input.speech_stopped(event.milliseconds("audio_end_ms"))


def _committed(talk: Talk, event: ServerMessage) -> None:
    item_id = event.text("item_id")
    was_asked = talk.input.awaits_commit and not talk.input.has_found_turn
    committed = talk.input.committed()
    talk.items.speak(talk.key(item_id), committed)
    # A commit of ours never starts an answer, nor ends what is owed.
    if talk.config.answers_by_itself and not was_asked:
        talk.answers.is_due = True
    talk.say(InputCommitted(committed.audio_end_ms))


def _input_transcribed_on(talk: Talk, event: ServerMessage) -> None:
    text = event.optional_text("delta")
    if text:
        talk.say(InputTranscript(text), payload=text)


def _input_transcribed(talk: Talk, event: ServerMessage) -> None:
    text = event.text("transcript")
    talk.items.transcribe(talk.key(event.text("item_id")), text)
    talk.say(InputTranscript(text, final=True), payload=text)


def _input_not_transcribed(talk: Talk, event: ServerMessage) -> None:
    talk.say(ProviderWarning("transcription_failed"))


# Errors


def _error(talk: Talk, event: ServerMessage) -> None:
    refusal = refusal_of(event)
    match refusal.weight:
        case Weight.WAIT:
            _too_early(talk, refusal)
        case Weight.CONNECTION:
            talk.ending = refusal.code
        case Weight.FATAL:
            talk.ending = refusal.code
            talk.refused = _fatal(refusal.code)
        case Weight.BENIGN:
            talk.answers.failed(refusal.event_id)
        case Weight.REQUEST:
            _refused(talk, refusal)


def _fatal(code: str) -> ProviderFailure:
    return ProviderFailure(
        f"the provider refuses this session with {code!r}: no other connection will do until that is mended",
        code=code,
        retry=RetryClassification.NOT_RETRYABLE,
    )


def _too_early(talk: Talk, refusal: Refusal) -> None:
    if not talk.answers.refused(refusal.event_id) and refusal.event_id is not None:
        talk.say(ProviderWarning(refusal.code))
    # The next one waits no longer than for one that was given up.
    talk.pump()


def _refused(talk: Talk, refusal: Refusal) -> None:
    """The provider won't do what *refusal* names; the program learns of it, unless it doesn't matter."""
    event_id = refusal.event_id or ""
    kind, _, key = event_id.partition("_")
    if kind == "stop":
        # Playback has stopped here, whatever the provider makes of it.
        return
    if kind == "item":
        talk.items.drop(key)
    without = talk.updates.refused(event_id)
    if without is not None:
        talk.config = without
        talk.input.finds_turns = talk.config.turns is not None
    if not talk.is_begun and refusal.code in PASSING:
        talk.ending = refusal.code
    elif not talk.is_begun or (kind == "session" and not talk.is_configured):
        talk.refused = _fatal(refusal.code)
    if talk.answers.failed(refusal.event_id):
        talk.pump()
    is_empty = refusal.code == "input_audio_buffer_commit_empty"
    if is_empty or kind == "commit":
        talk.input.commit_refused(refusal.event_id)
        if is_empty and talk.config.turns is not None:
            # The provider was faster, and took the turn itself.
            return
    talk.say(ProviderWarning(refusal.code))


Hearing = Callable[[Talk, ServerMessage], None]

HEARD: Mapping[str, Hearing] = {
    "session.created": _session_created,
    "session.updated": _session_updated,
    "conversation.created": _conversation_created,
    "input_audio_buffer.speech_started": _speech_started,
    "input_audio_buffer.speech_stopped": _speech_stopped,
    "input_audio_buffer.timeout_triggered": _timeout_triggered,
    "input_audio_buffer.committed": _committed,
    "conversation.item.input_audio_transcription.delta": _input_transcribed_on,
    "conversation.item.input_audio_transcription.completed": _input_transcribed,
    "conversation.item.input_audio_transcription.failed": _input_not_transcribed,
    **ANSWERS,
    "error": _error,
}

# Known, and nothing that a session needs: echoes, meters, and what only other transports and sessions have.
IGNORED = frozenset(
    {
        "conversation.item.added",
        "conversation.item.created",
        "conversation.item.deleted",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.segment",
        "conversation.item.retrieved",
        "conversation.item.truncated",
        "input_audio_buffer.cleared",
        "input_audio_buffer.dtmf_event_received",
        "mcp_list_tools.completed",
        "mcp_list_tools.failed",
        "mcp_list_tools.in_progress",
        "output_audio_buffer.cleared",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
        "rate_limits.updated",
        "response.content_part.added",
        "response.content_part.done",
        "response.mcp_call.completed",
        "response.mcp_call.failed",
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.output_audio.done",
    }
)
