"""The bot on the telephone, run as it stands between a telephone's media stream and a provider on loopback."""

from __future__ import annotations

import json
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from examples import phone_bot
from realtime_async.testing.loopback import DropHow
from tests.examples.telephoning import HELD, LOUD, QUIET, SCRIPT, last_record, telephone
from tests.examples.watching import BACKENDS, found, printed_as_ascii

SIGNALS = pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT], ids=["sigterm", "sigint"])


async def test_a_caller_is_greeted_heard_and_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with telephone(SCRIPT, tmp_path) as (phone, server):
        # 600 ms of 8 kHz for the greeting, and as much for the answer.
        await phone.listen_for(4800)
        await phone.speak(*LOUD, *QUIET)
        await phone.listen_for(9600)
        await phone.say(event="stop", streamSid="MZ1", stop={"callSid": "CA1"})
        await phone.listen_to_the_end()

    assert server.log[0].heard == list(range(1, 9))
    assert server.log[0].session["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    printed = capsys.readouterr().out
    assert "heard: Please book a table for two." in printed
    assert "0 failed, 0 dropped, 0 in doubt" in printed


async def test_a_caller_who_speaks_over_the_bot_clears_the_line(tmp_path: Path) -> None:
    async with telephone(SCRIPT, tmp_path) as (phone, server):
        await phone.listen_for(4800)
        # Two of the pieces, of 100 ms each, have been heard.
        await phone.play(*phone.marks[:2])
        await phone.speak(*LOUD)
        while not phone.clears:
            await phone.listen()
        await server.until(lambda: any("truncate" in str(message) for message in server.log[0].received))

        [cut] = [json.loads(m) for m in server.log[0].received if "item.truncate" in str(m)[:60]]
        assert cut["audio_end_ms"] == 200


async def test_the_call_goes_on_when_the_provider_hangs_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with telephone(SCRIPT, tmp_path) as (phone, server):
        await phone.listen_for(4800)
        server.drop(DropHow.RESET)
        await phone.speak(*LOUD, *QUIET)
        await phone.listen_for(9600)

    assert server.connections == 2
    assert "connection_lost: " in capsys.readouterr().out


@pytest.fixture
def asked_to_stop(monkeypatch: pytest.MonkeyPatch) -> Callable[[signal.Signals], Awaitable[None]]:
    """Send the signal, and wait until the bot has noticed."""
    noticed = anyio.Event()

    def printed(line: str, **_options: object) -> None:
        print(line)
        if line.startswith("asked to stop"):
            noticed.set()

    async def ask(by: signal.Signals) -> None:
        signal.raise_signal(by)
        await noticed.wait()

    monkeypatch.setattr(phone_bot, "print", printed, raising=False)
    return ask


@SIGNALS
async def test_who_is_asked_to_stop_lets_each_turn_be_heard_to_its_end(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked_to_stop: Callable[[signal.Signals], Awaitable[None]],
    by: signal.Signals,
) -> None:
    monkeypatch.setattr(phone_bot, "DRAIN_S", 1000.0)
    async with telephone(HELD, tmp_path) as (phone, server):
        await phone.listen_for(1600)
        # All that there is was played, so that isn't what the bot waits for.
        await phone.play(*phone.marks)
        await asked_to_stop(by)
        await anyio.wait_all_tasks_blocked()
        server.go_on()
        await phone.listen_for(4800)
        await server.until(lambda: server.log[0].sent[-1]["type"] == "response.done")
        await phone.ping()
        assert "run phone-bot" not in capsys.readouterr().out
        await phone.play(*phone.marks[2:])
        await phone.listen_to_the_end()
        await phone.bot_ended.wait()

    printed = capsys.readouterr().out
    assert "0 failed, 0 dropped, 0 in doubt" in printed
    assert await last_record(tmp_path, found(r"^run (\S+): ", printed)) == "realtime_closed"


@SIGNALS
async def test_who_is_asked_to_stop_waits_no_longer_than_the_deadline(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked_to_stop: Callable[[signal.Signals], Awaitable[None]],
    by: signal.Signals,
) -> None:
    monkeypatch.setattr(phone_bot, "DRAIN_S", 0.1)
    async with telephone(HELD, tmp_path) as (phone, _):
        await phone.listen_for(1600)
        await asked_to_stop(by)
        await phone.listen_to_the_end()
        await phone.bot_ended.wait()

    assert len(phone.heard) == 1600
    run_id = found(r"^run (\S+): ", capsys.readouterr().out)
    assert await last_record(tmp_path, run_id) == "realtime_closed"


async def test_who_is_asked_to_stop_takes_no_more_calls_and_waits_for_none_that_has_not_begun(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked_to_stop: Callable[[signal.Signals], Awaitable[None]],
) -> None:
    monkeypatch.setattr(phone_bot, "DRAIN_S", 1000.0)
    async with telephone(HELD, tmp_path) as (phone, server):
        await phone.listen_for(1600)
        port = phone.connection.remote_address[1]
        async with await anyio.connect_tcp("127.0.0.1", port) as stranger:
            await asked_to_stop(signal.SIGTERM)
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stranger.receive()
        with pytest.raises(OSError):
            await anyio.connect_tcp("127.0.0.1", port)

        assert not phone.bot_ended.is_set()
        server.go_on()
        await phone.listen_for(4800)


async def test_what_is_no_telephone_is_hung_up_on_and_the_next_call_is_taken(tmp_path: Path) -> None:
    async with telephone(SCRIPT, tmp_path) as (phone, _):
        port = phone.connection.remote_address[1]
        async with await anyio.connect_tcp("127.0.0.1", port) as stranger:
            await stranger.send(b"no WebSocket\r\n\r\n")
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stranger.receive()
        await phone.listen_for(4800)


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        "[" * 50_000,
        "1" * 50_000,
        '{"event": "media", "media": {"payload": "***"}}',
        '{"event": "media", "media": {"payload": "é"}}',
        '{"event": "media", "media": {"payload": ""}}',
        '{"event": "mark", "mark": {"name": "0.-1"}}',
        f'{{"event": "mark", "mark": {{"name": "0.{"9" * 50_000}"}}}}',
    ],
    ids=[
        "no json",
        "a list",
        "too deep",
        "a long number",
        "no base64",
        "no ascii",
        "nothing",
        "below zero",
        "too much",
    ],
)
async def test_what_no_telephone_says_ends_no_call(tmp_path: Path, text: str) -> None:
    async with telephone(SCRIPT, tmp_path) as (phone, server):
        await phone.listen_for(4800)
        await anyio.to_thread.run_sync(phone.connection.send, text)
        await phone.speak(*LOUD, *QUIET)
        await phone.listen_for(9600)

    assert server.log[0].heard == list(range(1, 9))


async def test_who_says_nothing_after_the_handshake_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with telephone(SCRIPT, tmp_path) as (phone, _):
        await phone.listen_for(4800)
        monkeypatch.setattr(phone_bot, "HANDSHAKE_S", 0.5)
        port = phone.connection.remote_address[1]

        def stay_silent() -> None:
            with connect(f"ws://127.0.0.1:{port}/", compression=None, proxy=None) as stranger:
                stranger.recv(timeout=10)

        with pytest.raises(WebSocketException):
            await anyio.to_thread.run_sync(stay_silent)


async def test_who_hangs_up_on_an_answer_ends_the_call_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = anyio.Event()

    async def broken(_line: phone_bot.Line, _message: object) -> None:
        tried.set()
        raise phone_bot.HungUp

    monkeypatch.setattr(phone_bot.Line, "send", broken)
    async with telephone(SCRIPT, tmp_path) as (phone, _):
        await tried.wait()
        await phone.say(event="stop", streamSid="MZ1", stop={"callSid": "CA1"})
        await phone.listen_to_the_end()

    printed = capsys.readouterr().out
    assert "1 accepted: 1 sent, 0 failed" in printed
    assert await last_record(tmp_path, found(r"^run (\S+): ", printed)) == "realtime_closed"


def test_words_that_the_output_has_no_letters_for_end_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed_as_ascii(monkeypatch, phone_bot.run) == b"said:  Caf\\xe9\n"


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_a_key_it_says_where_to_put_one(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    with pytest.raises(SystemExit, match="OPENAI_API_KEY"):
        phone_bot.run(["--backend", backend])
