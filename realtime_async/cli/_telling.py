"""A report in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from realtime_async.cli._printing import counted, when
from realtime_async.reports import RestartTold, RunReport, SessionReport, ToldFrames, UsageTold

__all__ = ["told"]

RANGES_SHOWN = 8
SHOWN = 20


def told(report: RunReport) -> Iterator[str]:
    lasted = (report.last_millis - report.began_millis) / 1000
    yield f"run {report.run_id}: {counted(report.records, 'record')}, {when(report.began_millis)} UTC, {lasted:.1f} s"
    for session in report.sessions:
        yield ""
        yield f"session {session.session_id}: {_ending(session)}"
        for name, value in _facts(session):
            yield f"  {name:<16}{value}"


def _ending(session: SessionReport) -> str:
    if session.close_reason is None:
        return f"has not ended, {session.status}"
    return f"{session.status}, {session.close_reason}"


def _facts(session: SessionReport) -> Iterator[tuple[str, str]]:
    delivery = session.delivery
    yield (
        "frames",
        (
            f"{delivery.accepted} accepted: {delivery.sent} sent, {delivery.failed} failed, {delivery.dropped} dropped, "
            f"{delivery.in_doubt} in doubt, {delivery.queued} queued"
        ),
    )
    yield (
        "never heard",
        f"{session.failed + session.dropped}: {session.failed} failed, {session.dropped} dropped",
    )
    yield "perhaps unheard", f"{_frames(session.in_doubt_still)}, of {_frames(session.in_doubt)} in doubt"
    late = _frames(session.late)
    yield "heard late", f"{late}, {session.longest_wait_s:.3f} s at most" if session.late.frames else late
    yield "heard twice", _frames(session.twice)
    yield (
        "interruptions",
        (
            f"{session.interruptions}, {session.interruptions_failed} refused, {session.fenced} without a connection; "
            f"{counted(session.discarded, 'frame')} of answers discarded"
        ),
    )
    if session.tool_calls:
        yield (
            "tool calls",
            f"{session.tool_calls}, {session.tool_calls_failed} failed, {session.tool_calls_unknown} with an unknown outcome",
        )
    yield "usage", _usage(session.usage)
    yield "restarts", str(session.restart_count)
    for restart in session.restarts[:SHOWN]:
        yield "", _restart(restart)
    for resumption in session.resumptions[:SHOWN]:
        yield "resumed", f"{when(resumption.at_millis)}, after {resumption.silent_s:.1f} s"
    if session.hand_overs:
        yield "handed over", str(session.hand_overs)
    for carried in session.carried:
        size = "" if carried.bytes is None else f", {carried.bytes} bytes"
        seconds = "" if carried.audio_s is None else f", {carried.audio_s:.2f} s"
        way = "in" if carried.direction == "input_to_provider" else "out"
        yield f"{way} {carried.media_kind}", f"{counted(carried.frames, 'frame')}{size}{seconds}"
    yield "open intents", str(len(session.open_intents))
    for intent in session.open_intents[:SHOWN]:
        yield "", f"record {intent.journal_seq}, {intent.kind}, since {when(intent.at_millis)}"


def _restart(restart: RestartTold) -> str:
    how = "not completed" if restart.outage_s is None else f"{restart.outage_s:.3f} s without a connection"
    errors = f" ({', '.join(restart.errors)})" if restart.errors else ""
    return (
        f"{when(restart.requested_millis)} {restart.reason}: {how}, {counted(restart.attempts, 'attempt')}{errors}; "
        f"{counted(restart.late, 'frame')} late, {restart.replayed} twice, {restart.dropped} dropped"
    )


def _usage(told: UsageTold) -> str:
    untold = f"{counted(told.answers_untold, 'answer')} untold" if told.answers_untold else ""
    if not told.answers:
        return untold or "none told"
    tokens = told.tokens
    taken = _tokens({"text": tokens.input_text_tokens, "audio": tokens.input_audio_tokens})
    given = _tokens({"text": tokens.output_text_tokens, "audio": tokens.output_audio_tokens})
    cached = "" if tokens.cached_tokens is None else f" ({tokens.cached_tokens} cached)"
    return f"{counted(told.answers, 'answer')}: tokens in {taken}{cached}, out {given}{'; ' + untold if untold else ''}"


def _tokens(by_modality: Mapping[str, int | None]) -> str:
    told = [f"{count} {modality}" for modality, count in by_modality.items() if count is not None]
    return " + ".join(told) or "untold"


def _frames(told: ToldFrames) -> str:
    if not told.frames:
        return "0"
    shown = ", ".join(
        str(each.first) if each.frames == 1 else f"{each.first}-{each.last}"
        for each in told.ranges[:RANGES_SHOWN]
    )
    more = ", …" if len(told.ranges) > RANGES_SHOWN else ""
    seconds = "" if told.audio_s is None else f", {told.audio_s:.2f} s"
    return f"{counted(told.frames, 'frame')} ({shown}{more}{seconds})"
