"""What the command says of a journal, through its command line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from realtime_async.cli._asking import masked, plain
from realtime_async.journals import SqliteJournal, read_export
from realtime_async.ports import JournalRecord, RunId
from tests.cli.asked import ROOT, RUN, ask, ask_json, made
from tests.cli.running import PROGRAM, left_by_its_reader
from tests.cli.spoiling import DAMAGES, changed, path_of
from tests.controller.staged import FRAME, SECRET
from tests.postgres_server import PASSWORD, Database

__all__: list[str] = []


def test_runs_are_listed(url: str) -> None:
    asked = ask("runs", "--journal", url)

    assert asked.exit_code == 0
    heading, first, second = asked.stdout.splitlines()
    assert heading.split() == ["began", "last", "records", "last", "record", "run"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  .* +\d+  closed +call-1", first)
    assert second.endswith("call-2")


def test_runs_are_chosen_by_a_tag_and_taken_up_after_any(url: str) -> None:
    (tagged,) = ask_json("runs", "--journal", url, "--tag", "tenant:zebra")
    (later,) = ask_json("runs", "--journal", url, "--after", RUN)

    assert tagged == later
    assert (tagged["run_id"], tagged["last_kind"]) == ("call-2", "closed")
    assert "tenant:zebra" in tagged["tags"]


def test_the_journal_may_be_named_by_the_environment(url: str) -> None:
    asked = ask("runs", REALTIME_ASYNC_JOURNAL=url)

    assert (asked.exit_code, len(asked.stdout.splitlines())) == (0, 3)


def test_the_records_of_a_run_are_shown(url: str) -> None:
    asked = ask("show", RUN, "--journal", url)

    heading, *lines = asked.stdout.splitlines()
    assert heading.split() == ["seq", "time", "ms", "kind", "sent", "recv", "frames", "gate", "about"]
    assert [int(line.split()[0]) for line in lines] == list(range(1, len(lines) + 1))
    assert any(
        "input_send_failed" in line and "provider_connection_lost, unknown_outcome" in line for line in lines
    )
    (completed,) = [line for line in lines if "restart_completed" in line]
    assert completed.endswith("connection_lost")


def test_records_are_shown_from_any_on(url: str) -> None:
    every, some = (
        ask_json("show", RUN, "--journal", url),
        ask_json("show", RUN, "--journal", url, "--after", "3"),
    )

    assert some == every[3:]
    assert every[0]["payload"]["kind"] == "connect_requested"


def test_an_export_is_read_back_as_the_records_that_it_was_made_of(url: str) -> None:
    async def stored() -> list[JournalRecord]:
        async with SqliteJournal.open(path_of(url)) as journal:
            return [one async for one in journal.read(RunId(RUN))]

    asked = ask("export", RUN, "--journal", url, "--format", "jsonl")

    assert list(read_export(asked.stdout.splitlines())) == anyio.run(stored)


def test_a_whole_journal_is_verified(url: str) -> None:
    asked = ask("verify", "--journal", url)

    assert asked.exit_code == 0
    assert re.fullmatch(r"2 runs, \d+ records: whole\n", asked.stdout)
    assert ask_json("verify", RUN, "--journal", url)[0]["findings"] == []


def test_one_run_is_counted_as_one(url: str) -> None:
    asked = ask("verify", RUN, "--journal", url)

    assert re.fullmatch(r"1 run, \d+ records: whole\n", asked.stdout)


@pytest.mark.parametrize(
    "command, records", [(["show", RUN, "--after", str(2**64)], 0), (["tail", RUN, "--last", str(2**64)], 27)]
)
def test_a_count_beyond_all_records_is_one(command: list[str], records: int, url: str) -> None:
    asked = ask(*command, "--journal", url)

    assert (asked.exit_code, len(asked.stdout.splitlines())) == (0, 1 + records)


def test_a_run_that_no_terminal_can_name_is_a_wrong_question(url: str) -> None:
    asked = ask("runs", "--after", "\udcff", "--journal", url)

    assert asked.exit_code == 2
    assert re.fullmatch(
        r"realtime-async: the run to begin after holds half of a surrogate pair: .*\n", asked.stderr
    )


def test_a_run_is_reported(url: str) -> None:
    asked = ask("report", RUN, "--journal", url)

    lines = {line[:18].strip(): line[18:] for line in asked.stdout.splitlines()}
    assert lines["frames"] == "5 accepted: 4 sent, 0 failed, 0 dropped, 1 in doubt, 0 queued"
    assert lines["never heard"] == "0: 0 failed, 0 dropped"
    assert lines["perhaps unheard"] == "0, of 1 frame (3) in doubt"
    assert re.fullmatch(r"2 frames \(4-5\), \d+\.\d{3} s at most", lines["heard late"])
    assert lines["heard twice"] == "2 frames (2-3)" or lines["heard twice"].startswith("2 frames (2-3, ")
    assert (
        lines["usage"]
        == "2 answers: tokens in 13 text + 400 audio (100 cached), out 100 audio; 1 answer untold"
    )
    assert lines["restarts"] == "1"
    assert lines["open intents"] == "0"
    assert "connection_lost: " in asked.stdout
    assert ", 1 attempt; 2 frames late" in asked.stdout


def test_a_report_is_told_as_json_with_seconds_where_a_rate_is_given(url: str) -> None:
    (told,) = ask_json("report", RUN, "--journal", url, "--input-rate", "24000")

    (session,) = told["sessions"]
    assert session["twice"]["frames"] == 2
    assert session["twice"]["audio_s"] == pytest.approx(2 * len(FRAME) / 48_000)
    assert session["delivery"]["in_doubt"] == 1
    assert session["usage"] == {
        "answers": 2,
        "answers_untold": 1,
        "tokens": {
            "input_text_tokens": 13,
            "input_audio_tokens": 400,
            "cached_tokens": 100,
            "output_text_tokens": None,
            "output_audio_tokens": 100,
        },
    }
    assert session["restarts"][0]["reason"] == "connection_lost"


def pieces_of(terminal: int) -> Iterator[bytes]:
    """All that was written to it, where nobody writes any more."""
    # That there is no more is told by an error.
    with suppress(OSError):
        while piece := os.read(terminal, 1 << 16):
            yield piece


@pytest.mark.parametrize("command", ["verify", "report", "export"])
def test_how_much_was_read_is_told_on_a_terminal_and_nowhere_else(command: str, url: str) -> None:
    ours, terminal = os.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "realtime_async.cli", command, RUN, "--journal", url],
        stdout=subprocess.PIPE,
        stderr=terminal,
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(terminal)
    assert program.stdout is not None
    told = program.stdout.read()
    program.stdout.close()
    assert program.wait(30) == 0

    shown = b"".join(pieces_of(ours))
    os.close(ours)
    assert b"records: 27" in shown
    assert told
    assert b"records: 27" not in told


@pytest.mark.parametrize(
    "command", [["export", RUN], ["show", RUN], ["tail", RUN], ["report", RUN], ["verify"], ["runs"]]
)
def test_a_reader_who_has_had_enough_is_no_error(command: list[str], url: str) -> None:
    assert left_by_its_reader(*command, "--journal", url) == (0, b"")


def closed_pipe() -> int:
    theirs, ours = os.pipe()
    os.close(theirs)
    return ours


@pytest.mark.parametrize("question, code", [("whole", 0), ("damaged", 1), ("gone", 2)])
def test_the_code_is_told_though_nobody_reads_anything(question: str, code: int, tmp_path: Path) -> None:
    url = made(tmp_path / "calls.db")
    if question == "damaged":
        changed(path_of(url), DAMAGES["a damaged record"][0])
    if question == "gone":
        url += ".gone"
    pipe = closed_pipe()

    done = subprocess.run(
        [*PROGRAM, "report", RUN, "--journal", url], stdout=pipe, stderr=pipe, cwd=ROOT, check=False
    )
    os.close(pipe)

    assert done.returncode == code


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize("question, code", [("verify", 0), ("verify nobody", 2), ("doctor", 0), ("ask", 2)])
def test_the_code_is_told_though_there_is_nowhere_to_write(
    question: str, code: int, closed: str, url: str
) -> None:
    asked = shlex.join([*PROGRAM, *question.split(), "--journal", url])

    done = subprocess.run(f"{asked} {closed}", shell=True, capture_output=True, cwd=ROOT, check=False)

    assert done.returncode == code
    assert b"Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command", [["export", RUN], ["show", RUN], ["verify"]], ids=lambda command: command[0]
)
def test_a_full_disk_under_the_output_is_told_in_one_line(command: list[str], url: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PROGRAM, *command, "--journal", url],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            check=False,
        )

    assert done.returncode == 2
    assert re.fullmatch(rb"realtime-async: the output .*No space left on device.*\n", done.stderr)


WRONG_QUESTIONS: dict[str, Callable[[str], tuple[list[str], str]]] = {
    "no journal": lambda url: (
        ["runs"],
        r"no journal was named: give --journal URL, or set REALTIME_ASYNC_JOURNAL",
    ),
    "no URL": lambda url: (
        ["runs", "--journal", "calls.db"],
        r"expected sqlite:FILE or postgresql://.* sqlite:calls\.db$",
    ),
    "no file": lambda url: (["runs", "--journal", f"{url}.gone"], r"no such file"),
    "no such run": lambda url: (["show", "nobody", "--journal", url], r"holds no run 'nobody'"),
    "no such run to report": lambda url: (["report", "nobody", "--journal", url], r"holds no run"),
    "no such run to export": lambda url: (["export", "nobody", "--journal", url], r"holds no run"),
    "no such run to verify": lambda url: (["verify", "nobody", "--journal", url], r"holds no run"),
    "no such run to follow": lambda url: (["tail", "nobody", "--journal", url], r"holds no run"),
    "no id": lambda url: (["show", "no id", "--journal", url], r"'no id'"),
    "a demo in no journal": lambda url: (["demo"], r"give --journal sqlite:FILE"),
    "a demo in a file of no kind": lambda url: (
        ["demo", "--journal", "mysql://127.0.0.1/x"],
        r"give --journal sqlite:FILE",
    ),
    "a demo that hears two": lambda url: (
        ["demo", "--journal", url, "--microphone", "--input", "question.wav"],
        r"give --input or --microphone",
    ),
    "nothing to migrate": lambda url: (["migrate", "--journal", url], r"only a journal in PostgreSQL"),
    "away": lambda url: (
        ["verify", "--journal", f"postgresql://carol:{PASSWORD}@127.0.0.1:1/calls"],
        r"cannot be reached",
    ),
}


@pytest.mark.parametrize("question", WRONG_QUESTIONS)
def test_a_wrong_question_is_answered_in_one_line_and_with_2(question: str, url: str) -> None:
    arguments, said = WRONG_QUESTIONS[question](url)

    asked = ask(*arguments)

    assert asked.exit_code == 2
    assert asked.stdout == ""
    (line,) = asked.stderr.splitlines()
    assert line.startswith("realtime-async: ")
    assert re.search(said, line)
    assert PASSWORD not in line


@pytest.mark.parametrize(
    "arguments", [["sing"], ["show"], ["export", RUN, "--format", "xml"], ["runs", "--no"]]
)
def test_bad_usage_ends_with_2(arguments: list[str]) -> None:
    assert ask(*arguments).exit_code == 2


def test_a_question_leaves_no_file_behind(tmp_path: Path) -> None:
    ask("runs", "--journal", f"sqlite:{tmp_path / 'calls.db'}")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["runs", "show", "verify", "report", "export", "tail"])
def test_nothing_that_was_said_is_printed(command: str, url: str) -> None:
    asked = ask(command, *([] if command == "runs" else [RUN]), "--journal", url)

    assert SECRET not in asked.output
    assert "\x1b" not in asked.output


def test_what_could_move_a_cursor_is_not_printed() -> None:
    assert plain("a\x1b[2Jb\nc é") == "a\ufffd[2Jb\ufffdc é"


@pytest.mark.parametrize(
    "url, shown",
    [
        ("sqlite:/var/calls.db", "sqlite:/var/calls.db"),
        ("postgresql://carol@h/db", "postgresql://carol@h/db"),
        ("postgresql://carol:s3cr3t@h:5/db", "postgresql://carol:***@h:5/db"),
        ("postgresql://carol:p@ss@h/db", "postgresql://carol:***@h/db"),
        ("postgresql://carol:p/ss@h/db", "postgresql://carol:***@h/db"),
        ("postgresql://carol@h:s3cr3t@h/db", "postgresql://carol@h:***@h/db"),
        ("postgresql://h/db?user=carol&password=s3cr3t&x=y", "postgresql://h/db?user=carol&password=***&x=y"),
    ],
)
def test_a_password_is_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_a_journal_in_postgresql_is_migrated_and_asked(postgres_database: Database) -> None:
    asked = ask("migrate", "--journal", postgres_database.admin_dsn)

    assert asked.exit_code == 0
    assert ask("runs", "--journal", postgres_database.dsn).exit_code == 0


def test_without_its_extra_the_command_says_what_to_install() -> None:
    program = "import sys; sys.modules['typer'] = None; from realtime_async.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert done.returncode == 2
    assert done.stderr == "realtime-async: the command needs typer: pip install 'realtime-async[cli]'\n"


def test_no_color_is_respected_and_a_pipe_gets_none(url: str) -> None:
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "xterm-256color"}
    done = subprocess.run(
        [sys.executable, "-m", "realtime_async.cli", "show", RUN, "--journal", url],
        capture_output=True,
        cwd=ROOT,
        env=environment,
        check=True,
    )

    assert b"\x1b" not in done.stdout + done.stderr
