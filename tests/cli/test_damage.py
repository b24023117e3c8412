"""What the command says of a journal that is damaged, and how it ends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from realtime_async.errors import JournalFailure
from realtime_async.journals import StoredRuns
from realtime_async.journals._reading import Reading
from realtime_async.ports import JournalCursor, RunId
from tests.cli.asked import RUN, ask, ask_json, made
from tests.cli.running import left_by_its_reader
from tests.cli.spoiling import DAMAGES, NO_NUMBERS, changed, one_more_at, path_of
from tests.controller.staged import SECRET

__all__: list[str] = []


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_with_its_record_and_the_other_runs_are_verified(damage: str, tmp_path: Path) -> None:
    statement, said = DAMAGES[damage]
    url = made(tmp_path / "calls.db")
    changed(path_of(url), statement)

    asked = ask("verify", "--journal", url)
    (told,) = ask_json("verify", "--journal", url)

    assert asked.exit_code == 1
    finding, summary = asked.stdout.splitlines()
    assert re.search(said, finding)
    assert summary.endswith("1 damaged")
    assert (told["runs"], told["findings"][0]["run_id"]) == (2, RUN)


# Each is found in one line, by its record or its run, whatever is asked for.
SPOILT: dict[str, tuple[str, str]] = {
    "a record without its payload": (
        "UPDATE record SET body = json_set(body, '$.payload', null) WHERE run = 1 AND seq = 4",
        r"record 4 of run 'call-1' cannot be read",
    ),
    "a shared text that is gone": (
        "DELETE FROM part WHERE id IN (SELECT sort FROM record WHERE run = 1 AND seq = 27)",
        r"record \d+ of run 'call-1' cannot be read",
    ),
    "all shared texts gone": ("DELETE FROM part", r"record 1 of run 'call-1' cannot be read"),
    "an extent whose bytes are no number": (
        "UPDATE record SET body = json_set(body, '$.payload.extent[3]', json('[1]')) WHERE run = 1 AND json_extract(body, '$.payload.extent') IS NOT NULL",
        r"record \d+ of run 'call-1' cannot be read \(TypeError\)",
    ),
    "a gate whose frames are no number": (
        "UPDATE record SET body = json_set(body, '$.payload.backpressure_state[2]', 'mauve-door') WHERE run = 1 AND json_extract(body, '$.payload.backpressure_state') IS NOT NULL",
        r"record \d+ of run 'call-1' cannot be read \(TypeError\)",
    ),
    "text in no UTF-8": (
        "UPDATE record SET body = CAST(x'ff' || 'mauve-door' AS TEXT) WHERE run = 1 AND seq = 4",
        r"journal '.*' cannot be read: it holds text that is no UTF-8; restore it from a copy",
    ),
}


@pytest.mark.parametrize("command", ["verify", "show", "report", "export", "tail"])
@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_record_is_told_in_one_line_and_quoted_in_none(
    spoilt: str, command: str, tmp_path: Path
) -> None:
    statement, said = SPOILT[spoilt]
    url = made(tmp_path / "calls.db")
    changed(path_of(url), statement)

    asked = ask(command, RUN, "--journal", url)

    assert asked.exit_code == 1
    finding = asked.stdout.splitlines()[0] if command == "verify" else asked.stderr.splitlines()[-1]
    assert re.search(said, finding)
    assert SECRET not in asked.output


def test_the_records_before_a_damaged_one_are_told(tmp_path: Path) -> None:
    url = made(tmp_path / "calls.db")
    whole = ask("export", RUN, "--journal", url).stdout.splitlines()
    changed(path_of(url), "UPDATE record SET body = '{' WHERE run = 1 AND seq = 4")

    exported, shown = ask("export", RUN, "--journal", url), ask("show", RUN, "--journal", url)
    (told,) = ask_json("verify", RUN, "--journal", url)

    assert exported.stdout.splitlines() == whole[:3]
    assert len(shown.stdout.splitlines()) == 1 + 3
    assert told["records"] == 3


@pytest.mark.parametrize("command", ["verify", "show", "report", "export", "tail"])
@pytest.mark.parametrize("number", NO_NUMBERS)
def test_a_record_whose_number_is_none_is_told_in_one_line(number: str, command: str, tmp_path: Path) -> None:
    url = made(tmp_path / "calls.db")
    changed(path_of(url), one_more_at(NO_NUMBERS[number]))

    asked = ask(command, RUN, "--journal", url)

    assert asked.exit_code == 1
    finding = asked.stdout.splitlines()[0] if command == "verify" else asked.stderr.splitlines()[-1]
    assert re.search(r"run 'call-1' has a record whose number is .*, which is none: its journal", finding)


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_a_run_in_which_a_record_has_no_number_is_listed(number: str, tmp_path: Path) -> None:
    url = made(tmp_path / "calls.db")
    changed(path_of(url), one_more_at(NO_NUMBERS[number]))

    asked, told = ask("runs", "--journal", url), ask_json("runs", "--journal", url)

    assert asked.exit_code == 0
    assert [run["run_id"] for run in told] == [RUN, "call-2"]
    assert told[0]["records"] in (0, 27)
    assert told[0]["began_millis"] is not None


def test_a_run_in_which_no_record_has_a_number_is_damaged_and_not_missing(tmp_path: Path) -> None:
    url = made(tmp_path / "calls.db")
    changed(path_of(url), "UPDATE record SET seq = seq - 27 WHERE run = 1")

    asked, (told, _) = ask("verify", RUN, "--journal", url), ask_json("runs", "--journal", url)

    assert asked.exit_code == 1
    assert asked.stdout.endswith("1 run, 0 records: 1 damaged\n")
    assert (told["records"], told["last_kind"]) == (0, None)


# Of two runs and their records; the statement, how many runs are lost, and how many are still verified.
LOST: dict[str, tuple[str, str, int]] = {
    "the first": ("DELETE FROM run WHERE id = 1", "1 run", 1),
    "the last": ("DELETE FROM run WHERE id = 2", "1 run", 1),
    "both": ("DELETE FROM run", "2 runs", 0),
    "by another number": ("UPDATE record SET run = 7 WHERE run = 1 AND seq = 27", "1 run", 2),
    "by what is no number": ("UPDATE record SET run = 'x' WHERE run = 1 AND seq = 27", "1 run", 2),
}


@pytest.mark.parametrize("lost", LOST)
def test_records_whose_run_is_gone_are_damage_that_is_told_in_a_line(lost: str, tmp_path: Path) -> None:
    statement, runs, left = LOST[lost]
    url = made(tmp_path / "calls.db")
    changed(path_of(url), statement)

    asked, (told,) = ask("verify", "--journal", url), ask_json("verify", "--journal", url)

    assert (asked.exit_code, told["runs"]) == (1, left)
    *_, finding, summary = asked.stdout.splitlines()
    assert finding.startswith(f"the journal has records of {runs} whose id is gone: ")
    assert summary.endswith("1 damaged")
    assert told["findings"] == [{"run_id": None, "finding": finding}]


def test_runs_whose_records_cannot_be_put_together_are_listed_and_not_whole(tmp_path: Path) -> None:
    url = made(tmp_path / "calls.db")
    changed(path_of(url), "DELETE FROM part")

    asked, (told,) = ask("verify", "--journal", url), ask_json("verify", "--journal", url)

    assert asked.exit_code == 1
    assert [finding["run_id"] for finding in told["findings"]] == [RUN, "call-2"]
    assert [run["last_kind"] for run in ask_json("runs", "--journal", url)] == [None, None]


def test_what_was_found_is_told_though_the_journal_fails_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = made(tmp_path / "calls.db")
    changed(path_of(url), DAMAGES["a damaged record"][0])
    read = StoredRuns.read

    def failing(self: StoredRuns, run_id: RunId, *, after: int = 0) -> Reading:
        if run_id != RUN:
            raise JournalFailure("the server went away")
        return read(self, run_id, after=after)

    monkeypatch.setattr(StoredRuns, "read", failing)

    asked = ask("verify", "--journal", url)

    assert asked.exit_code == 2
    assert re.fullmatch(r"record 4 of run 'call-1' cannot be read.*\n", asked.stdout)
    assert asked.stderr == "realtime-async: the server went away\n"


def test_a_run_that_goes_on_while_it_is_read_is_whole(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    last, stood_at = StoredRuns.last, iter([5, 5])

    async def earlier(self: StoredRuns, run_id: RunId) -> JournalCursor | None:
        seq = next(stood_at, None)
        return await last(self, run_id) if seq is None else JournalCursor(run_id, seq)

    monkeypatch.setattr(StoredRuns, "last", earlier)

    asked = ask("verify", RUN, "--journal", url)

    assert (asked.exit_code, asked.stdout) == (0, "1 run, 27 records: whole\n")
    assert next(stood_at, None) is None


MISNAMED: dict[str, tuple[str, str]] = {
    "of other characters": ("'a b'", "'a b'"),
    "before all": ("' '", "' '"),
    "empty": ("''", "''"),
    "too long": (f"'{'y' * 257}'", f"'{'y' * 80}'… (257 characters)"),
    "in no UTF-8": ("CAST(x'ff41' AS TEXT)", "'\ufffdA'"),
    "with a zero": ("'call' || char(0)", r"'call\x00'"),
    "bytes": ("CAST('call-1' AS BLOB)", "no text"),
}


@pytest.mark.parametrize("misnamed", MISNAMED)
def test_a_run_whose_id_is_none_is_damage_and_the_others_are_listed_and_verified(
    misnamed: str, tmp_path: Path
) -> None:
    name, shown = MISNAMED[misnamed]
    url = made(tmp_path / "calls.db")
    changed(path_of(url), f"UPDATE run SET run_id = {name} WHERE id = 1")
    finding = (
        f"the journal has a run whose id is {shown}, which is none: it was tampered with or damaged; "
        "restore it from a copy"
    )

    asked, (told,) = ask("verify", "--journal", url), ask_json("verify", "--journal", url)
    listed = ask("runs", "--journal", url)

    assert (asked.exit_code, asked.stderr) == (1, "")
    assert told["findings"] == [{"run_id": None, "finding": finding}]
    assert (told["runs"], told["records"]) == (1, 27)
    assert listed.exit_code == 1
    assert [run.split()[-1] for run in listed.stdout.splitlines()] == ["run", "call-2"]
    assert listed.stderr == f"realtime-async: {finding}\n"


def test_runs_whose_ids_are_none_are_counted(tmp_path: Path) -> None:
    url = made(tmp_path / "calls.db")
    changed(path_of(url), "UPDATE run SET run_id = 'a b' || id")

    (told,) = ask_json("verify", "--journal", url)

    assert (told["runs"], len(told["findings"])) == (0, 1)
    assert "whose id is 'a b1', which is none, and 1 more like it: " in told["findings"][0]["finding"]


@pytest.mark.parametrize("millis", [10**17, -(10**17), 2**62])
def test_a_moment_beyond_every_calendar_keeps_nothing_from_being_told(millis: int, tmp_path: Path) -> None:
    url = made(tmp_path / "calls.db")
    changed(
        path_of(url),
        f"UPDATE record SET body = replace(body, json_extract(body, '$.timestamp_millis'), '{millis}')"
        " WHERE run = 1 AND seq IN (1, 27)",
    )

    listed, shown, told = (
        ask(*asked, "--journal", url) for asked in (["runs"], ["show", RUN], ["report", RUN])
    )

    assert (listed.exit_code, shown.exit_code, told.exit_code) == (0, 0, 0)
    assert listed.stdout.splitlines()[1].split()[:2] == ["unreadable", "unreadable"]
    assert shown.stdout.splitlines()[1].split()[1] == "unreadable"
    assert "unreadable UTC" in told.stdout


def test_tables_that_are_gone_are_told_with_what_helps(tmp_path: Path) -> None:
    url = made(tmp_path / "calls.db")
    changed(path_of(url), "DROP TABLE part")

    asked = ask("runs", "--journal", url)

    assert asked.exit_code == 2
    assert "restore it from a copy" in asked.stderr


@pytest.mark.parametrize("command", ["show", "report", "export"])
def test_a_damaged_run_is_told_in_one_line(command: str, tmp_path: Path) -> None:
    url = made(tmp_path / "calls.db")
    changed(path_of(url), "UPDATE record SET body = 'x' WHERE run = 1 AND seq = 4")

    asked = ask(command, RUN, "--journal", url)

    assert asked.exit_code == 1
    assert re.fullmatch(r"realtime-async: record 4 of run 'call-1' .*\n", asked.stderr)


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["lines", "JSON"])
def test_damage_is_found_though_nobody_reads_what_is_said_of_it(form: list[str], tmp_path: Path) -> None:
    url = made(tmp_path / "calls.db")
    changed(path_of(url), DAMAGES["a missing record"][0])

    assert left_by_its_reader("verify", "--journal", url, *form) == (1, b"")


@pytest.mark.parametrize(
    "command", [["export", RUN], ["show", RUN, "--json"], ["report", RUN]], ids=lambda command: command[0]
)
def test_damage_is_told_once_to_whoever_reads_only_what_went_wrong(
    command: list[str], tmp_path: Path
) -> None:
    """What was printed before it is still to be flushed when the program ends."""
    url = made(tmp_path / "calls.db")
    changed(path_of(url), DAMAGES["a missing record"][0])

    code, said = left_by_its_reader(*command, "--journal", url)

    assert code == 1
    assert re.fullmatch(rb"realtime-async: run 'call-1' has no record 4.*\n", said)
