"""What the command says of a journal in PostgreSQL: the same as of one in a file."""

from __future__ import annotations

import re
from collections.abc import Iterator

import anyio
import pytest

from realtime_async._core.given import shown
from realtime_async.journals import PostgresJournal, read_export
from realtime_async.ports import JournalRecord, RealtimeSessionRecordKind
from realtime_async.testing.journal_contract import append_all, record, records
from tests.cli.asked import RUN, ask, ask_json
from tests.cli.running import followed
from tests.controller.staged import SECRET
from tests.postgres_server import PASSWORD, Database, DatabaseMaker

__all__: list[str] = []


def written(dsn: str, run: list[JournalRecord]) -> None:
    async def write() -> None:
        async with PostgresJournal.open(dsn) as journal:
            await append_all(journal, run)

    anyio.run(write)


@pytest.fixture(scope="module")
def copied(url: str, postgres: DatabaseMaker) -> Iterator[Database]:
    """A database with the runs of the file at *url*."""
    with postgres.database() as database:
        for run_id in (RUN, "call-2"):
            exported = ask("export", run_id, "--journal", url)
            written(database.dsn, list(read_export(exported.stdout.splitlines())))
        yield database


QUESTIONS = {
    "runs": ["runs"],
    "runs of a tenant": ["runs", "--tag", "tenant:zebra"],
    "runs after one": ["runs", "--after", RUN],
    "show": ["show", RUN],
    "show from any on": ["show", RUN, "--after", "3"],
    "verify": ["verify"],
    "verify one": ["verify", RUN],
    "tail": ["tail", RUN, "--last", "2"],
    "report": ["report", RUN, "--input-rate", "24000"],
}
TOLD = [[*question, *form] for question in QUESTIONS.values() for form in ([], ["--json"])]


@pytest.mark.parametrize("question", [*TOLD, ["export", RUN]], ids=" ".join)
def test_a_database_and_a_file_with_the_same_runs_are_told_alike(
    question: list[str], url: str, copied: Database
) -> None:
    in_the_file, in_the_database = (ask(*question, "--journal", each) for each in (url, copied.dsn))

    assert in_the_file.exit_code == in_the_database.exit_code == 0, in_the_database.stderr
    assert in_the_file.stdout
    assert in_the_database.stdout == in_the_file.stdout
    assert PASSWORD not in in_the_database.output
    assert SECRET not in in_the_database.output


def test_a_run_that_is_not_there_is_a_wrong_question(copied: Database) -> None:
    asked = ask("report", "nobody", "--journal", copied.dsn)

    assert (asked.exit_code, asked.stdout) == (2, "")
    assert "holds no run 'nobody'" in asked.stderr
    assert PASSWORD not in asked.stderr


@pytest.mark.parametrize("command", ["verify", "show", "report", "export"])
def test_damage_is_found_with_its_record(command: str, postgres_database: Database) -> None:
    written(postgres_database.dsn, records(RUN, 5))
    postgres_database.execute("UPDATE realtime_async.record SET body = '{}' WHERE seq = 4")

    asked = ask(command, RUN, "--journal", postgres_database.dsn)

    assert asked.exit_code == 1
    assert re.search(rf"record 4 of run '{RUN}'", asked.stdout if command == "verify" else asked.stderr)
    assert PASSWORD not in asked.output


@pytest.mark.parametrize("name", ["", "a b", "y" * 257, "caf\u00e9", "a\nb"])
def test_a_run_whose_id_is_none_is_damage_and_the_others_are_listed_and_verified(
    name: str, postgres_database: Database
) -> None:
    for run_id in (RUN, "call-2"):
        written(postgres_database.dsn, records(run_id, 5))
    postgres_database.execute(f"UPDATE realtime_async.run SET run_id = '{name}' WHERE run_id = '{RUN}'")

    (told,) = ask_json("verify", "--journal", postgres_database.dsn)
    listed = ask("runs", "--journal", postgres_database.dsn)

    assert (told["runs"], told["records"]) == (1, 5)
    (finding,) = told["findings"]
    assert finding["run_id"] is None
    assert finding["finding"].startswith(f"the journal has a run whose id is {shown(name)}, which is none: ")
    assert listed.exit_code == 1
    assert listed.stdout.splitlines()[-1].endswith("  call-2")
    assert finding["finding"] in listed.stderr


def test_the_records_before_a_damaged_one_are_told(postgres_database: Database) -> None:
    written(postgres_database.dsn, records(RUN, 5))
    postgres_database.execute("UPDATE realtime_async.record SET body = '{}' WHERE seq = 4")

    exported = ask("export", RUN, "--journal", postgres_database.dsn)
    (told,) = ask_json("verify", RUN, "--journal", postgres_database.dsn)

    assert len(exported.stdout.splitlines()) == 3
    assert told["records"] == 3


def test_records_whose_run_is_gone_are_damage_that_is_told_in_a_line(postgres_database: Database) -> None:
    for run_id in (RUN, "call-2", "call-3"):
        written(postgres_database.dsn, records(run_id, 2))
    postgres_database.execute("DELETE FROM realtime_async.run WHERE run_id <> 'call-2'")

    asked = ask("verify", "--journal", postgres_database.dsn)

    assert asked.exit_code == 1
    finding, summary = asked.stdout.splitlines()
    assert finding.startswith("the journal has records of 2 runs whose id is gone: ")
    assert summary == "1 run, 2 records: 1 damaged"


LOWEST = -(2**63)
DAMAGES = {
    "a record below the first": (
        f"INSERT INTO realtime_async.record SELECT run, {LOWEST}, session, connection, sort, body FROM realtime_async.record WHERE seq = 4",
        rf"has a record whose number is {LOWEST}, which is none",
    ),
    "a run that stands below its first record": (
        "UPDATE realtime_async.run SET last_seq = -3",
        r"has a record whose number is -3, which is none",
    ),
    "its last record gone": (
        "DELETE FROM realtime_async.record WHERE seq = 5",
        r"stands at 5, but not all of its records from 5 on are there",
    ),
    "records beyond where it stands": (
        "UPDATE realtime_async.run SET last_seq = 3",
        r"stands at 3, but has a record 5",
    ),
    "all of its records gone": (
        "DELETE FROM realtime_async.record",
        r"stands at 5, but not all of its records from 1 on are there",
    ),
}


@pytest.mark.parametrize("asked_for", [[RUN], []], ids=["one run", "all"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_missing_or_has_no_number_is_found(
    damage: str, asked_for: list[str], postgres_database: Database
) -> None:
    statement, said = DAMAGES[damage]
    written(postgres_database.dsn, records(RUN, 5))
    postgres_database.execute(statement)

    verified = ask("verify", *asked_for, "--journal", postgres_database.dsn)

    assert verified.exit_code == 1
    finding, summary = verified.stdout.splitlines()
    assert re.search(rf"run '{RUN}' {said}", finding)
    assert summary.endswith("1 damaged")


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_missing_or_has_no_number_is_told_whatever_is_asked(
    damage: str, postgres_database: Database
) -> None:
    statement, said = DAMAGES[damage]
    written(postgres_database.dsn, records(RUN, 5))
    postgres_database.execute(statement)

    listed, *read = (
        ask(*question, "--journal", postgres_database.dsn)
        for question in (["runs"], ["show", RUN], ["report", RUN], ["export", RUN], ["tail", RUN])
    )

    assert (listed.exit_code, [asked.exit_code for asked in read]) == (0, [1, 1, 1, 1])
    assert RUN in listed.stdout
    for asked in read:
        assert re.search(rf"^realtime-async: run '{RUN}' {said}", asked.stderr)


def test_a_live_run_is_followed_until_it_ends(postgres_database: Database) -> None:
    dsn = postgres_database.dsn
    written(dsn, records("run.live", 5))
    rest = [record("run.live", 6), record("run.live", 7, kind=RealtimeSessionRecordKind.CLOSED)]

    assert followed("run.live", dsn, shows=5, then=lambda: written(dsn, rest)) == [1, 2, 3, 4, 5, 6, 7]


def test_the_doctor_reaches_it_and_shows_no_password(copied: Database) -> None:
    asked, (told,) = ask("doctor", "--journal", copied.dsn), ask_json("doctor", "--journal", copied.dsn)

    assert asked.exit_code == 0
    assert str(told["journal"]).endswith(f":***@{copied.dsn.rpartition('@')[2]} can be read")
    assert PASSWORD not in asked.output + str(told)
