"""
A record as stores keep it: short, as 14,000 of them make an hour of talk.

It comes apart into four JSON texts.
What is the same for a whole session, what changes with its connections, and what is the same for
all records of one sort, is the same text each time, so a store writes it once and refers to it.
The fourth, the body, is what is left: also what the gate has counted, while frames wait in it, as that
changes with each of them.
Merged they are the public form (see `_codec`), but for cursors, extents and a record's references
to itself, which have short forms here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeAlias, get_type_hints

import attrs
import orjson
from cattrs.gen import make_dict_unstructure_fn, override

from realtime_async._core.records import SCHEMA_VERSION
from realtime_async.errors import JournalFailure
from realtime_async.journals._codec import CONVERTER, UNREADABLE, Public, corrupt, restore, unstructure
from realtime_async.journals._verdicts import numbered
from realtime_async.ports import (
    CursorLabel,
    CursorPrecision,
    EffectId,
    JournalRecord,
    RealtimeBackpressureAction,
    RealtimeBackpressureState,
    RealtimeFrameId,
    RealtimeResponseId,
    RealtimeSessionRecord,
    RecordExtent,
    RunId,
    StreamCursor,
)

__all__ = ["Packed", "pack", "unpack"]


Packed: TypeAlias = tuple[str, str, str, str]
"""The texts of a record: session, connection, sort, body.  Its run and journal_seq are the store's to keep."""


# Every attribute that is in none of these goes into the body.
_SESSION = (
    "schema_version", "record_kind", "agent_id", "source", "destination", "subject_ref", "tags",
    "event_family", "runtime_package_fingerprint", "redaction_policy_id",
)  # fmt: skip
_SESSION_PAYLOAD = ("session_id", "provider_route_ref", "policy_refs")
_SESSION_GATE = ("capacity", "policy_ref")
_CONNECTION_PAYLOAD = ("connection_id", "restart_count")
_COUNTERS = ("queued_frames", "dropped_frames", "gated_frames", "last_action")
_SORT = ("event_kind", "privacy")
_SORT_PAYLOAD = ("kind", "status", "channel", "direction", "media_kind", "privacy", "retention")
# These name the record itself, where they are not empty: on intents the first, on results the second.
_SELF_REFERENCES = ("effect_intent_ref", "effect_result_ref")
# No identifier has this character, so it can't be mistaken for one.
_ITSELF = "="

_session_of = attrgetter(*_SESSION)
_session_payload_of = attrgetter(*_SESSION_PAYLOAD)
_session_gate_of = attrgetter(*_SESSION_GATE)
_connection_payload_of = attrgetter(*_CONNECTION_PAYLOAD)
_counters_of = attrgetter(*_COUNTERS)
_sort_of = attrgetter(*_SORT)
_sort_payload_of = attrgetter(*_SORT_PAYLOAD)
_shared_of = attrgetter(*_SESSION, *_SORT)
_shared_payload_of = attrgetter(*_SESSION_PAYLOAD, *_CONNECTION_PAYLOAD, *_SORT_PAYLOAD, "backpressure_state")
_CHUNKS, _SEND = CursorPrecision.CHUNK_SEQUENCE_ONLY, CursorLabel.SEND

# What was checked when it was made has one of these types.
_CHECKED: Mapping[str, type] = {"response_id": RealtimeResponseId, "redacted_summary": str}

# A server with more runs at a time than this writes a text anew now and then, at 20 µs each.
TEXTS_KEPT = 4096


class _Texts:
    """Shared texts, by the values that they are made of."""

    def __init__(self, part_of: Callable[[JournalRecord], Public]) -> None:
        self._part_of = part_of
        self._all: dict[object, str] = {}

    def text(self, values: object, record: JournalRecord) -> str:
        text = self._all.get(values)
        if text is None:
            part = self._part_of(record)
            _check_readable(part)
            _make_room(self._all)
            text = self._all[values] = orjson.dumps(part).decode()
        return text


def _check_readable(part: Public) -> None:
    """Find out whether *part* can be read again: it raises what reading it would."""
    if part.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise ValueError("this release writes one version")
    for names, readers in ((part, _ENVELOPE), (part["payload"], _PAYLOAD)):
        for name, value in names.items():
            if name not in {"payload", "backpressure_state"} and value != _ITSELF:
                readers[name](value)


def _seldom_there(payload: RealtimeSessionRecord) -> Public:
    """What few records have, as far as *payload* has it and it could be read again."""
    there = _written_seldom(payload)
    for name, value in there.items():
        if type(value) is not _CHECKED.get(name):
            _PAYLOAD[name](value)
    return there


def pack(record: JournalRecord) -> Packed:
    """
    Take *record* apart; equal parts are the same text.

    It raises one of UNREADABLE where that text would be no JSON, or none of a record.
    """
    payload, record_id = record.payload, record.record_id
    if type(record.timestamp_millis) is not int or not isinstance(record_id, str):
        raise TypeError("an id is a text, and a time is a whole number")
    rest = {} if _seldom_of(payload) == _NOTHING_SELDOM else _seldom_there(payload)
    frame_id, gate = payload.frame_id, payload.backpressure_state
    if frame_id is not None:
        rest["frame_id"] = frame_id if type(frame_id) is RealtimeFrameId else RealtimeFrameId(frame_id)
    intent_is_itself = _refers(rest, "effect_intent_ref", payload.effect_intent_ref, record_id)
    result_is_itself = _refers(rest, "effect_result_ref", payload.effect_result_ref, record_id)
    rest["send_cursor"] = _short_cursor(payload.send_cursor)
    rest["receive_cursor"] = _short_cursor(payload.receive_cursor)
    if payload.extent is not None:
        rest["extent"] = _short_extent(payload.extent)
    if gate.queued_frames:
        rest["backpressure_state"] = _counters_of(gate)
    body = _body_of(record)
    body["payload"] = rest
    return *_shared(record, intent_is_itself, result_is_itself), orjson.dumps(body).decode()


def _refers(rest: Public, name: str, reference: EffectId | None, record_id: str) -> bool:
    """Note a reference in *rest*, unless there is none, or it is to the record itself; whether it is."""
    if reference is None:
        return False
    if type(reference) is not EffectId:
        EffectId(reference)
    if reference == record_id:
        return True
    rest[name] = reference
    return False


# Nearly always it is what the run's last record of that kind had.  Comparing is cheaper than hashing where most of it is
# the very same, which it is not, though equal, where another writer has the run, whose subject is an object of its own.
_LAST: dict[tuple[str, str], tuple[object, object, tuple[str, str, str]]] = {}


def _shared(record: JournalRecord, *is_itself: bool) -> tuple[str, str, str]:
    """The texts of what *record* shares with others."""
    payload = record.payload
    owner = record.run_id, payload.kind
    values = _shared_of(record), _shared_payload_of(payload), is_itself
    last = _LAST.get(owner)
    if last is not None and last[0] is record.subject_ref and last[1] == values:
        return last[2]
    gate = payload.backpressure_state
    session = _session_of(record), _session_payload_of(payload), _session_gate_of(gate)
    connection = _connection_payload_of(payload), None if gate.queued_frames else _counters_of(gate)
    sort = _sort_of(record), _sort_payload_of(payload), is_itself
    texts = (
        _SESSIONS.text(session, record),
        _CONNECTIONS.text(connection, record),
        _SORTS.text(sort, record),
    )
    _make_room(_LAST)
    _LAST[owner] = record.subject_ref, values, texts
    return texts


def _make_room(kept: dict[Any, Any]) -> None:
    if len(kept) >= TEXTS_KEPT:
        kept.clear()


def _part(
    public: Mapping[str, Any], envelope: tuple[str, ...], payload: tuple[str, ...], gate: tuple[str, ...] = ()
) -> Public:
    """Those attributes of a record's public form."""
    whole = public["payload"]
    part = {name: public[name] for name in envelope if name in public}
    part["payload"] = {name: whole[name] for name in payload if name in whole}
    counters = {
        name: whole["backpressure_state"][name] for name in gate if name in whole["backpressure_state"]
    }
    if counters:
        part["payload"]["backpressure_state"] = counters
    return part


def _session_part(record: JournalRecord) -> Public:
    return _part(unstructure(record), _SESSION, _SESSION_PAYLOAD, _SESSION_GATE)


def _connection_part(record: JournalRecord) -> Public:
    counters = () if record.payload.backpressure_state.queued_frames else _COUNTERS
    return _part(unstructure(record), (), _CONNECTION_PAYLOAD, counters)


def _sort_part(record: JournalRecord) -> Public:
    public = unstructure(record)
    part = _part(public, _SORT, _SORT_PAYLOAD)
    for name in _SELF_REFERENCES:
        if public["payload"].get(name) == record.record_id:
            part["payload"][name] = _ITSELF
    return part


_SESSIONS = _Texts(_session_part)
_CONNECTIONS = _Texts(_connection_part)
_SORTS = _Texts(_sort_part)


def _short_cursor(cursor: StreamCursor) -> object:
    """A number; with an r before it where it counts what was received; whole where it has bytes."""
    if cursor.byte_offset is not None or cursor.precision is not _CHUNKS:
        return CONVERTER.unstructure(cursor)
    return cursor.chunk_sequence if cursor.label is _SEND else f"r{cursor.chunk_sequence}"


def _cursor(short: Any) -> StreamCursor:
    if isinstance(short, int):
        return StreamCursor(short)
    if isinstance(short, str):
        return StreamCursor(int(short.removeprefix("r")), None, _CHUNKS, CursorLabel.RECEIVE)
    return CONVERTER.structure(short, StreamCursor)


def _whole(number: Any) -> int:
    return CONVERTER.structure(number, int)


def _short_extent(extent: RecordExtent) -> object:
    first = None if extent.first is None else _short_cursor(extent.first)
    last = None if extent.last is None else _short_cursor(extent.last)
    if extent.sha256 is None:
        return first, last, extent.frames, extent.bytes
    return first, last, extent.frames, extent.bytes, extent.sha256


def _extent(short: Any) -> RecordExtent:
    first, last, frames, size, *sha256 = short
    return RecordExtent(
        None if first is None else _cursor(first),
        None if last is None else _cursor(last),
        _whole(frames),
        _whole(size),
        *(CONVERTER.structure(text, str) for text in sha256),
    )


def _counted(gate: RealtimeBackpressureState, counters: Sequence[Any]) -> RealtimeBackpressureState:
    *numbers, action = counters
    queued, dropped, gated = map(_whole, numbers)
    last_action = None if action is None else RealtimeBackpressureAction(action)
    return RealtimeBackpressureState(gate.capacity, queued, dropped, gated, last_action, gate.policy_ref)


def unpack(run_id: RunId, journal_seq: int, packed: Packed) -> JournalRecord:
    """
    Put a record together again.

    Raises:
        JournalCorrupt: It is no record, or one that a newer release has written, or has no number.
    """
    numbered(run_id, journal_seq)
    try:
        *shared, text = packed
        parts = _parts(*shared)
        if parts is None:
            return restore(_public(run_id, journal_seq, packed), _named(run_id, journal_seq))
        body = orjson.loads(text)
        rest = body.pop("payload")
        counters = rest.pop("backpressure_state", None)
        payload = parts.payload | {name: _PAYLOAD[name](value) for name, value in rest.items()}
        if counters is not None:
            payload["backpressure_state"] = _counted(payload["backpressure_state"], counters)
        for name in parts.references_to_itself:
            payload[name] = EffectId(body["record_id"])
        envelope = {name: _ENVELOPE[name](value) for name, value in body.items()}
        return JournalRecord(
            run_id=run_id,
            journal_seq=journal_seq,
            payload=RealtimeSessionRecord(**payload),
            **parts.envelope,
            **envelope,
        )
    except JournalFailure:
        raise
    except UNREADABLE as error:
        raise corrupt(_named(run_id, journal_seq), error) from error


def _named(run_id: RunId, journal_seq: int) -> str:
    return f"record {journal_seq} of run {str(run_id)!r}"


@attrs.frozen
class _Parts:
    """What the shared texts of a record say, as attributes of records."""

    envelope: dict[str, Any]
    payload: dict[str, Any]
    references_to_itself: tuple[str, ...]


@lru_cache(maxsize=1024)
def _parts(*shared: str) -> _Parts | None:
    """None: they are not of this release's schema version."""
    public = _merged(shared)
    if public["schema_version"] != SCHEMA_VERSION:
        return None
    payload = public.pop("payload")
    references = tuple(name for name in _SELF_REFERENCES if payload.pop(name, None) == _ITSELF)
    return _Parts(
        {name: _ENVELOPE[name](value) for name, value in public.items()},
        {name: _PAYLOAD[name](value) for name, value in payload.items()},
        references,
    )


def _merged(texts: Sequence[str]) -> Public:
    merged: Public = {}
    payload: Public = {}
    gate: Public = {}
    for text in texts:
        part = orjson.loads(text)
        of_payload = part.pop("payload")
        counters = of_payload.pop("backpressure_state", {})
        gate |= counters if isinstance(counters, dict) else dict(zip(_COUNTERS, counters, strict=True))
        payload |= of_payload
        merged |= part
    return merged | {"payload": payload | {"backpressure_state": gate}}


def _public(run_id: RunId, journal_seq: int, packed: Packed) -> Public:
    """The public form of a record, in whatever schema version it has."""
    public = _merged(packed)
    payload = public["payload"]
    for name in _SELF_REFERENCES:
        if payload.get(name) == _ITSELF:
            payload[name] = public["record_id"]
    for name, read in _SHORT.items():
        if name in payload:
            payload[name] = CONVERTER.unstructure(read(payload[name]))
    return public | {"run_id": run_id, "journal_seq": journal_seq}


def _readers(kind: type) -> dict[str, Callable[[Any], Any]]:
    """By attribute of *kind*: how its value is read from JSON."""

    def reader(hint: Any) -> Callable[[Any], Any]:
        hook = CONVERTER.get_structure_hook(hint)
        return lambda value: hook(value, hint)

    return {name: reader(hint) for name, hint in get_type_hints(kind).items()}


def _writer(kind: type, elsewhere: tuple[str, ...]) -> Callable[[Any], Public]:
    """What makes a dict of a *kind*, but for the attributes that are written *elsewhere*."""
    omitted = {name: override(omit=True) for name in elsewhere}
    # cattrs types these by its own options, whose names begin with _cattrs_.
    return make_dict_unstructure_fn(kind, CONVERTER, _cattrs_omit_if_default=True, **omitted)  # type: ignore[arg-type]


_SHORT: dict[str, Callable[[Any], Any]] = {
    "send_cursor": _cursor,
    "receive_cursor": _cursor,
    "extent": _extent,
}
_ENVELOPE = _readers(JournalRecord)
_PAYLOAD = _readers(RealtimeSessionRecord) | _SHORT
_body_of = _writer(JournalRecord, (*_SESSION, *_SORT, "run_id", "journal_seq", "payload"))
# What most records have: beside it, few have anything.
_OFTEN = (
    "frame_id",
    *_SESSION_PAYLOAD,
    *_CONNECTION_PAYLOAD,
    *_SORT_PAYLOAD,
    *_SELF_REFERENCES,
    *_SHORT,
    "backpressure_state",
)
_SELDOM = [field for field in attrs.fields(RealtimeSessionRecord) if field.name not in _OFTEN]
_seldom_of = attrgetter(*(field.name for field in _SELDOM))
_NOTHING_SELDOM = tuple(field.default for field in _SELDOM)
_written_seldom = _writer(RealtimeSessionRecord, _OFTEN)
