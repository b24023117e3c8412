from __future__ import annotations

from typing import Any

import attrs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_async.errors import JournalCorrupt
from realtime_async.journals import _codec, _compact
from realtime_async.journals._codec import decode, encode
from realtime_async.journals._compact import pack, unpack
from realtime_async.ports import (
    CursorLabel,
    EffectId,
    JournalRecord,
    RealtimeSessionRecordKind,
    RecordExtent,
    StreamCursor,
)
from realtime_async.testing.journal_contract import RUN, record
from tests.journals.any_records import any_record

__all__: list[str] = []

KINDS = list(RealtimeSessionRecordKind)


def packed_again(one: JournalRecord) -> JournalRecord:
    return unpack(one.run_id, one.journal_seq, pack(one))


def labels(one: JournalRecord) -> list[CursorLabel]:
    """Which half each cursor counts, which takes no part in equality."""
    payload = one.payload
    extent = payload.extent or RecordExtent()
    cursors = [payload.send_cursor, payload.receive_cursor, extent.first, extent.last]
    # A cursor at its default is left out, whatever its label.
    return [cursor.label for cursor in cursors if cursor is not None and cursor != StreamCursor()]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(data=st.data())
def test_every_record_survives_each_of_its_forms(
    kind: RealtimeSessionRecordKind, data: st.DataObject
) -> None:
    one = data.draw(any_record(kind))

    from_json = decode(encode(one))
    from_parts = packed_again(one)
    from_merged_parts = _codec.restore(_compact._public(one.run_id, one.journal_seq, pack(one)), "a record")

    assert from_json == from_parts == from_merged_parts == one
    assert labels(from_json) == labels(from_parts) == labels(from_merged_parts) == labels(one)


@pytest.mark.parametrize("name", ["effect_intent_ref", "effect_result_ref"])
def test_a_reference_to_another_record_is_kept(name: str) -> None:
    one = record(RUN, 7)
    reference: dict[str, Any] = {name: EffectId("realtime.record.6.0123abcd")}
    one = attrs.evolve(one, payload=attrs.evolve(one.payload, **reference))

    assert packed_again(one) == one


def test_what_has_its_default_is_left_out_but_for_the_version() -> None:
    public = orjson.loads(encode(record(RUN, 1)))

    assert public["schema_version"] == 1
    assert "tags" not in public
    assert "restart_count" not in public["payload"]
    assert public["payload"]["backpressure_state"] == {"capacity": 500}


def test_records_of_a_session_share_all_but_their_bodies() -> None:
    *shared, body = pack(record(RUN, 1))
    *shared_too, body_too = pack(record(RUN, 2))

    assert shared == shared_too
    assert body != body_too
    assert set(orjson.loads(body)) == {"record_id", "timestamp_millis", "payload"}


def test_more_sessions_than_are_remembered_are_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compact, "TEXTS_KEPT", 2)

    runs = [record(f"run.{number}", 1) for number in range(6)]

    assert [packed_again(one) for one in runs] == runs


def as_public(**changes: Any) -> dict[str, Any]:
    public: dict[str, Any] = orjson.loads(encode(record(RUN, 7)))
    return public | changes


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in as_public().items() if key != name}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"7",
        orjson.dumps(without("journal_seq")),
        orjson.dumps(without("run_id")),
    ],
    ids=["empty", "cut", "a list", "nothing", "a number", "no place", "no run"],
)
def test_a_line_that_names_no_record_is_corrupt(line: bytes) -> None:
    with pytest.raises(JournalCorrupt, match="no record"):
        decode(line)


@pytest.mark.parametrize(
    "public",
    [
        without("record_id"),
        without("schema_version"),
        as_public(schema_version="1"),
        as_public(schema_version=0),
        as_public(timestamp_millis="7"),
        as_public(runtime_package_fingerprint=7),
        as_public(agent_id=7),
        as_public(agent_id="no identifier, but words"),
        as_public(payload={}),
        as_public(transcript="what was said"),
        as_public(privacy="none at all"),
    ],
    ids=[
        "a field is missing",
        "no version",
        "a version in words",
        "a version before the first",
        "a number in quotes",
        "a number for a text",
        "a number for an id",
        "an id that is none",
        "no payload",
        "a field too many",
        "an unknown choice",
    ],
)
def test_a_record_that_cannot_be_is_corrupt_and_named_without_its_content(public: dict[str, Any]) -> None:
    with pytest.raises(JournalCorrupt, match=r"record 7 of run 'run\.contract' cannot be read") as raised:
        decode(orjson.dumps(public))

    assert "said" not in raised.value.message
    assert "words" not in raised.value.message


def test_a_record_of_a_later_release_is_refused_by_its_version() -> None:
    line = orjson.dumps(as_public(schema_version=2, something="later"))

    with pytest.raises(JournalCorrupt, match="schema version 2, and this release reads up to 1"):
        decode(line)


def test_a_stored_record_of_a_later_release_is_refused_by_its_version() -> None:
    session, *others = pack(record(RUN, 7))
    later = orjson.dumps(orjson.loads(session) | {"schema_version": 2, "something": "later"}).decode()

    with pytest.raises(JournalCorrupt, match="schema version 2, and this release reads up to 1"):
        unpack(RUN, 7, (later, others[0], others[1], others[2]))


@pytest.fixture
def an_upcaster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version before the first, in which the writer of a record was called its author."""

    def upcast(public: dict[str, Any]) -> dict[str, Any]:
        author = public.pop("author")
        return public | {"agent_id": author, "schema_version": 1}

    monkeypatch.setitem(_codec.UPCASTERS, 0, upcast)


@pytest.mark.usefixtures("an_upcaster")
def test_a_record_of_an_earlier_release_is_read() -> None:
    public = without("agent_id") | {"schema_version": 0, "author": "agent.default"}

    assert decode(orjson.dumps(public)) == record(RUN, 7)


@pytest.mark.usefixtures("an_upcaster")
def test_a_stored_record_of_an_earlier_release_is_read() -> None:
    session, connection, sort, body = pack(record(RUN, 7))
    earlier = orjson.loads(session) | {"schema_version": 0}
    earlier["author"] = earlier.pop("agent_id")

    again = unpack(RUN, 7, (orjson.dumps(earlier).decode(), connection, sort, body))

    assert again == record(RUN, 7)


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"payload":{}}', '{"payload":{"said":"hello"},"record_id":"r"}']
)
def test_a_stored_body_that_is_none_is_corrupt(body: str) -> None:
    session, connection, sort, _ = pack(record(RUN, 7))

    with pytest.raises(JournalCorrupt, match=r"record 7 of run 'run\.contract' cannot be read"):
        unpack(RUN, 7, (session, connection, sort, body))
