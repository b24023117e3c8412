"""The bot that talks with Gemini, against a server on loopback."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples import gemini_bot
from realtime_async.testing.loopback.gemini import GeminiAnswer, GeminiScript, LoopbackGemini
from tests.examples.watching import BACKENDS, printed_as_ascii, wav

KEY = "mauve-door-91"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in gemini_bot.KEYS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[LoopbackGemini]:
    script = GeminiScript(
        otherwise=GeminiAnswer("A table for two is booked."), heard_as="Please book a table for two."
    )
    with LoopbackGemini(script, key=KEY) as server:
        yield server


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_hears_a_question_and_answers_it(
    backend: str, server: LoopbackGemini, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)

    gemini_bot.main(["--base-url", server.url, "--speed", "20", "--backend", backend])

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(("heard:", "said:"))] == [
        "heard: Please book a table for two.",
        "said:  A table for two is booked.",
    ]
    with wave.open("answer.wav") as answer:
        assert (answer.getframerate(), answer.getnframes()) == (24_000, 400 * 24)
    assert KEY.encode() not in Path("calls.db").read_bytes()
    assert server.log[0].refused is None


def test_who_has_no_key_is_told_where_to_get_one() -> None:
    with pytest.raises(SystemExit, match=r"^gemini_bot: there is no key: set GEMINI_API_KEY to one from"):
        gemini_bot.main([])


def test_a_wrong_key_is_told_and_not_shown(server: LoopbackGemini, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "wrong-lamp-17")
    Path("answer.wav").write_bytes(b"an earlier answer")

    with pytest.raises(SystemExit, match=r"^gemini_bot: Gemini Live refused .* HTTP status 401") as told:
        gemini_bot.main(["--base-url", server.url])

    assert "wrong-lamp-17" not in str(told.value)
    assert Path("answer.wav").read_bytes() == b"an earlier answer"


@pytest.mark.parametrize(
    "sound, told",
    [
        (b"no sound", "RIFF"),
        (b"", "cut off"),
        (wav(bytes(640))[:30], "cut off"),
        (wav(b"", rate=16_000), "no sound in it"),
        (wav(bytes(640), rate=16_000)[:44], "no sound in it"),
    ],
    ids=["no WAV", "empty", "half a header", "header only", "cut off before its sound"],
)
def test_a_file_without_sound_is_told(
    server: LoopbackGemini, monkeypatch: pytest.MonkeyPatch, sound: bytes, told: str
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    Path("none.wav").write_bytes(sound)
    Path("answer.wav").write_bytes(b"an earlier answer")

    with pytest.raises(SystemExit, match=rf"^gemini_bot: none.wav .*{told}"):
        gemini_bot.main(["--base-url", server.url, "--input", "none.wav"])

    assert Path("answer.wav").read_bytes() == b"an earlier answer"


def test_a_file_of_another_kind_is_told(server: LoopbackGemini, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    with wave.open("stereo.wav", "wb") as file:
        file.setparams((2, 2, 44_100, 0, "NONE", ""))
        file.writeframes(bytes(400))

    with pytest.raises(SystemExit, match=r"2 channel\(s\) of 16 bit at 44100 Hz: convert it to 1 channel"):
        gemini_bot.main(["--base-url", server.url, "--input", "stereo.wav"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_in_which_nobody_speaks_is_given_up(
    server: LoopbackGemini,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    backend: str,
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setattr(gemini_bot, "ANSWER_S", 0.3)
    Path("silent.wav").write_bytes(wav(bytes(32_000), rate=16_000))

    with pytest.raises(
        SystemExit, match=r"^gemini_bot: nothing was answered for 0.3 s: is there .* in silent.wav"
    ):
        gemini_bot.main(
            ["--base-url", server.url, "--speed", "20", "--input", "silent.wav", "--backend", backend]
        )

    assert "0 failed, 0 dropped, 0 in doubt" in capsys.readouterr().out


def test_words_that_the_output_has_no_letters_for_end_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)

    assert printed_as_ascii(monkeypatch, gemini_bot.main) == b"said:  Caf\\xe9\n"
