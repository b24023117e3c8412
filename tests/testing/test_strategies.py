"""What the strategies make is what the ports accept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime_async.journals import MemoryJournal
from realtime_async.ports import JournalRecord, RealtimeInputFrame, RealtimeOutputFrame, RunId
from realtime_async.testing import run_virtual
from realtime_async.testing.strategies import (
    audio_formats,
    cursors,
    identifiers,
    input_frames,
    journal_records,
    output_frames,
    runs,
)


@given(identifiers(RunId))
def test_ids_are_valid_and_of_their_kind(run_id: RunId) -> None:
    assert type(run_id) is RunId
    assert RunId(str(run_id)) == run_id


@given(input_frames(), cursors())
def test_input_frames_can_be_stamped_and_show_no_payload(frame: RealtimeInputFrame, at: object) -> None:
    assert frame.payload_bytes() >= 0
    assert "payload" not in repr(frame)


@given(output_frames())
def test_output_frames_bear_an_event(frame: RealtimeOutputFrame) -> None:
    assert frame.event is not None


@given(audio_formats())
def test_audio_formats_have_a_rate(audio_format: object) -> None:
    assert audio_format


@given(journal_records(run_id="run.1", journal_seq=7))
def test_records_are_where_they_are_asked_to_be(record: JournalRecord) -> None:
    assert (record.run_id, record.journal_seq) == ("run.1", 7)
    assert record.event_kind == f"realtime_{record.payload.kind}"


@given(runs("run.1", max_size=4), st.sampled_from(["asyncio", "trio"]))
def test_a_run_can_be_appended_to_a_journal(records: list[JournalRecord], backend: str) -> None:
    async def written() -> list[JournalRecord]:
        journal = MemoryJournal()
        for record in records:
            await journal.append(record)
        return [record async for record in journal.read(RunId("run.1"))]

    assert run_virtual(written, backend=backend) == records
