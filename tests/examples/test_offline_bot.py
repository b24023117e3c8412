"""The offline voice bot, run as it stands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from examples import make_question, offline_bot
from tests.adapters.local.speech import noise, noisy, silence, spoken
from tests.examples.calling import Bot, Outcome
from tests.examples.watching import BACKENDS, found, watched_calls
from tests.oracle.evidence import INTENTS, intents_of, steps_of
from tests.oracle.invariants import check

QUESTION = "please book a table for two"
ANSWER = ["A table for two is booked.", "See you tonight!"]
GOODBYE = ["Goodbye!", "It was nice talking to you."]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Sequence[str]:
    return ("--backend", request.param)


def test_it_answers_the_question_that_ships_with_it(bot: Bot, backend: Sequence[str]) -> None:
    outcome = bot.runs(*backend)

    assert outcome.heard == [QUESTION]
    assert outcome.said == [*ANSWER, *GOODBYE]
    assert outcome.answer_s > 2
    assert outcome.summary("lost") == "nothing"


@pytest.mark.parametrize("at_s", [0.1, 0.9, 1.7])
def test_it_hears_the_whole_sentence_though_the_connection_is_replaced_in_it(
    at_s: float, bot: Bot, backend: Sequence[str]
) -> None:
    outcome = bot.runs(*backend, "--restart-at", str(at_s))

    assert outcome.heard == [QUESTION]
    assert outcome.said == [*ANSWER, *GOODBYE]
    assert outcome.summary("restarts") == "1"
    assert outcome.summary("lost") == "nothing"
    assert int(found(r"(\d+) frames said again", outcome.printed)) >= at_s * 50 - 1


@pytest.mark.parametrize("arguments", [(), ("--restart-at", "1.0")], ids=["undisturbed", "restarted"])
def test_it_leaves_a_journal_that_is_whole(
    arguments: Sequence[str], bot: Bot, backend: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = watched_calls(monkeypatch, offline_bot)

    journal = bot.runs(*backend, *arguments).journal()

    steps = steps_of(journal)
    assert check(journal, calls, secrets=["table", "Goodbye"]) == []
    assert steps[-1].kind == "closed"
    assert {step.kind for step in steps} > set(INTENTS) - {
        "interrupt_requested",
        "hand_over_requested",
        # The brain books the table itself.
        "tool_call_requested",
        *(() if arguments else ("restart_started", "input_replay_requested")),
    }
    assert all(intent.result is not None for intent in intents_of(steps))


@pytest.mark.parametrize("voice", ["en-us", "en-us+f2"])
@pytest.mark.parametrize("question", ["what can you do", "tell me a joke"])
def test_it_hears_a_sentence_that_was_just_spoken(question: str, voice: str, bot: Bot) -> None:
    assert bot.hears(silence(0.3) + spoken(question, voice)).heard == [question]


def test_it_hears_in_noise(bot: Bot) -> None:
    outcome = bot.hears(noisy(silence(0.5) + spoken("what can you do") + silence(0.5), 20))

    assert outcome.heard == ["what can you do"]


@pytest.mark.parametrize("sound", [b"", silence(2), noise(2, rms=300)], ids=["nothing", "silence", "noise"])
def test_it_hears_nobody_where_nobody_speaks(sound: bytes, bot: Bot) -> None:
    outcome = bot.hears(sound)

    assert outcome.heard == []
    assert outcome.said == GOODBYE


def test_it_thinks_with_another_brain(bot: Bot) -> None:
    async def repeat(heard: str) -> AsyncIterator[str]:
        for word in heard.split():
            yield f"{word}. "

    outcome = bot.hears(silence(0.3) + spoken("what can you do"), brain=repeat)

    assert outcome.said == ["what.", "can.", "you.", "do.", "goodbye."]


def test_it_answers_a_question_that_was_made_for_it(bot: Bot) -> None:
    make_question.main(["tell me a joke", "--voice", "en-us+m3", "--output", "joke.wav"])

    assert bot.runs("--input", "joke.wav").heard == ["tell me a joke"]


@pytest.mark.parametrize(
    "arguments, advice",
    [
        (("--input", "nowhere.wav"), "No such file"),
        (("--input", "text.wav"), "save it as 16-bit PCM"),
        (("--restart-at", "9"), "the question takes 2.0 s"),
        (("--output", "nowhere/answer.wav"), "No such file"),
        (("--journal", "nowhere/calls.db"), "its directory must exist"),
    ],
    ids=["no file", "no sound", "restart too late", "no folder", "no folder for a journal"],
)
def test_what_cannot_be_done_is_told_in_a_sentence(arguments: Sequence[str], advice: str, bot: Bot) -> None:
    (bot.folder / "text.wav").write_text("This is no sound.")

    with pytest.raises(SystemExit, match=advice):
        bot.runs(*arguments)

    assert not (bot.folder / "answer.wav").exists()


@pytest.mark.parametrize(
    "arguments, advice",
    [
        (("--restart-at", "-1"), "-1 is not above zero"),
        (("--restart-at", "nan"), "nan is not above zero"),
        (("--input", "text.wav", "--output", "./text.wav"), "would be overwritten"),
    ],
    ids=["before the beginning", "no number", "answer over question"],
)
def test_what_makes_no_sense_is_refused_before_anything_is_done(
    arguments: Sequence[str], advice: str, bot: Bot
) -> None:
    (bot.folder / "text.wav").write_text("This is no sound.")

    with pytest.raises(SystemExit):
        bot.runs(*arguments)

    assert advice in bot.capsys.readouterr().err
    assert [path.name for path in bot.folder.iterdir()] == ["text.wav"]


def test_it_runs_from_any_folder(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, offline_bot.__file__, "--restart-at", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, run.stderr) == (0, "")
    assert Outcome(run.stdout, tmp_path).heard == [QUESTION]
    assert "realtime_" not in run.stdout.replace("realtime_async", "")
