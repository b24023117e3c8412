"""What was written once is read for ever: the files in tests/data are never written again."""

from __future__ import annotations

import shutil
from pathlib import Path

import attrs
import orjson
import pytest

from realtime_async.journals import SqliteJournal
from realtime_async.journals._codec import decode
from realtime_async.ports import JournalCursor, JournalRecord, RealtimeSessionRecordKind
from realtime_async.testing.journal_contract import read_all
from tests.data.make_journal import LACKS, RUNS, run_of_every_kind

__all__: list[str] = []

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(params=LACKS)
def pair(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def golden(pair: str, tmp_path: Path) -> Path:
    """A copy, as opening a journal may write to it."""
    return Path(shutil.copy(DATA / f"{pair}.db", tmp_path))


def golden_lines(pair: str) -> list[JournalRecord]:
    with (DATA / f"{pair}.jsonl").open("rb") as lines:
        return [decode(line) for line in lines]


def test_lines_that_were_written_before_are_read(pair: str) -> None:
    assert golden_lines(pair) == [one for run_id in RUNS for one in run_of_every_kind(run_id, pair)]


async def test_a_journal_that_was_written_before_is_read(pair: str, golden: Path) -> None:
    async with SqliteJournal.open(golden) as journal:
        kept = [one for run_id in RUNS for one in await read_all(journal, run_id)]

    assert kept == golden_lines(pair)


async def test_a_journal_that_was_written_before_goes_on(pair: str, golden: Path) -> None:
    written = run_of_every_kind(RUNS[0], pair)
    following = attrs.evolve(written[0], journal_seq=len(written) + 1)

    async with SqliteJournal.open(golden) as journal:
        assert await journal.append(following) == JournalCursor(RUNS[0], following.journal_seq)
        assert await read_all(journal, RUNS[0]) == [*written, following]


def test_the_latest_journal_has_a_record_of_every_kind() -> None:
    assert {one.payload.kind for one in golden_lines(max(LACKS))} == set(RealtimeSessionRecordKind)


CURSOR = {"byte_offset": None, "precision": "chunk_sequence_only"}
NOT_WRITTEN = {
    "record_kind": "realtime_session",
    "tags": ("feature:realtime",),
    "event_family": "realtime",
    "privacy": "content_refs_only",
    "content_refs": (),
    "redaction_policy_id": "policy.redaction.realtime.default",
}
NOT_WRITTEN_OF_THE_PAYLOAD = {
    "send_cursor": {"chunk_sequence": 0, "label": "send", **CURSOR},
    "receive_cursor": {"chunk_sequence": 0, "label": "receive", **CURSOR},
    "restart_count": 0,
    "policy_refs": (),
    "content_refs": (),
    "privacy": "content_refs_only",
    "retention": "run_scoped",
    **dict.fromkeys(
        ("frame_id", "response_id", "close_reason", "restart_reason", "channel", "direction", "media_kind",
         "redacted_summary", "effect_intent_ref", "effect_result_ref")
    ),
    "backpressure_state": {
        "capacity": 500, "queued_frames": 0, "dropped_frames": 0, "gated_frames": 0, "last_action": None, "policy_ref": None,
    },
    "error": {
        "kind": "provider_failure", "retry": "retryable", "code": None, "close_code": None, "http_status": None,
    },
    "usage": dict.fromkeys(
        ("input_text_tokens", "input_audio_tokens", "cached_tokens", "output_text_tokens", "output_audio_tokens")
    ),
    "extent": {"first": None, "last": None, "frames": 0, "bytes": 0, "sha256": None},
}  # fmt: skip


def test_what_is_not_written_is_read_as_what_it_was() -> None:
    """What has its default is left out, so with another default every journal would come to say something else."""
    written = {
        "kind": "closed", "status": "closed", "session_id": "s", "connection_id": "c", "provider_route_ref": "p",
    }  # fmt: skip
    envelope = {
        "schema_version": 1, "journal_seq": 1, "record_id": "r", "run_id": "call-42", "agent_id": "a",
        "source": {"kind": "host", "ref": "h"}, "destination": {"kind": "provider", "ref": "p"},
        "subject_ref": {"kind": "realtime_session", "ref": "s"}, "event_kind": "realtime_closed",
        "timestamp_millis": 1, "runtime_package_fingerprint": "f",
    }  # fmt: skip
    error = {"kind": "provider_failure", "retry": "retryable"}
    parts = {"backpressure_state": {"capacity": 500}, "extent": {}, "error": error, "usage": {}}

    read = attrs.asdict(decode(orjson.dumps({**envelope, "payload": {**written, **parts}})))

    assert read == {**envelope, **NOT_WRITTEN, "payload": {**written, **NOT_WRITTEN_OF_THE_PAYLOAD}}
