"""Every number that a flag of an example takes: one that is none, or makes no sense, is named and refused."""

from __future__ import annotations

from types import ModuleType

import pytest

from examples import call_exchange, gemini_bot, openai_bot, phone_bot, worker

DSN = ("--journal", "postgresql://127.0.0.1/calls")
NUMBERS = [
    (phone_bot, "--port", ()),
    (call_exchange, "--port", ()),
    (call_exchange, "--calls", ()),
    (call_exchange, "--seconds", ()),
    (worker, "--drain-s", DSN),
    (worker, "--lease-s", DSN),
    (worker, "--look-every-s", DSN),
    (openai_bot, "--speed", ()),
    (gemini_bot, "--speed", ()),
]


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "-inf", "1e999", "many", ""])
@pytest.mark.parametrize(
    "program, flag, others", NUMBERS, ids=[f"{each.__name__[9:]} {flag}" for each, flag, _ in NUMBERS]
)
def test_what_is_no_number_that_makes_sense_is_named(
    program: ModuleType,
    flag: str,
    others: tuple[str, ...],
    value: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        program.parsed([*others, f"{flag}={value}"])

    assert ended.value.code == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {flag}: " in told
    assert value in told


@pytest.mark.parametrize(
    "program, flag, value, others",
    [
        (phone_bot, "--port", "65536", ()),
        (call_exchange, "--port", "99999", ()),
        (call_exchange, "--calls", "0", ()),
        (call_exchange, "--seconds", "0", ()),
        (worker, "--lease-s", "0", DSN),
        (worker, "--look-every-s", "0", DSN),
        (openai_bot, "--speed", "0", ()),
    ],
)
def test_what_is_just_out_of_its_range_is_named(
    program: ModuleType,
    flag: str,
    value: str,
    others: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        program.parsed([*others, flag, value])

    assert ended.value.code == 2
    assert f"argument {flag}: {value} is " in capsys.readouterr().err


def test_no_time_at_all_to_drain_is_a_time() -> None:
    assert worker.parsed([*DSN, "--drain-s", "0"]).drain_s == 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_host_that_is_not_this_machines_is_named(
    backend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")

    # One of those that no machine has.
    with pytest.raises(SystemExit, match=r"^phone_bot: it cannot listen on 192\.0\.2\.1:8080: "):
        phone_bot.run(["--host", "192.0.2.1", "--journal", f"{tmp_path}/calls.db", "--backend", backend])
