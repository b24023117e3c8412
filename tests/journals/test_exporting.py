"""An export is read back, by anybody who has its lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from realtime_async.errors import JournalCorrupt
from realtime_async.journals import read_export
from realtime_async.journals._codec import encode
from realtime_async.testing.journal_contract import RUN, records

__all__: list[str] = []


@pytest.mark.parametrize("mode", ["r", "rb"])
def test_an_open_file_is_read_as_text_or_bytes(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    path.write_bytes(b"".join(encode(one) + b"\n" for one in records(RUN, 3)) + b"\n")

    with path.open(mode) as lines:
        assert list(read_export(lines)) == records(RUN, 3)


@pytest.mark.parametrize("line", [b"no JSON", b"[]", b'{"run_id": "run-1"}', "\ud800"])
def test_a_line_that_is_no_record_is_named(line: str | bytes) -> None:
    lines = read_export([encode(records(RUN, 1)[0]), line])

    assert next(lines) == records(RUN, 1)[0]
    with pytest.raises(JournalCorrupt, match=r"^line 2 of an export: "):
        next(lines)


def test_a_record_of_a_newer_release_is_named() -> None:
    later = encode(records(RUN, 1)[0]).replace(b'"schema_version":1', b'"schema_version":9')

    with pytest.raises(JournalCorrupt, match=r"line 1 of an export: record 1 .* has schema version 9"):
        list(read_export([later]))
