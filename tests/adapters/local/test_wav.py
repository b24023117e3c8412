"""A WAV file in place of a microphone."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from realtime_async.adapters.local.wav import WavInput
from realtime_async.errors import ContractViolation
from tests.adapters.local.speech import FRAME_BYTES


def written(path: Path, data: bytes, *, rate: int = 16_000, channels: int = 1, sample_bytes: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, sample_bytes, rate, 0, "NONE", ""))
        file.writeframes(data)
    return path


def tone(seconds: float, rate: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """440 Hz."""
    times = np.arange(round(seconds * rate)) / rate
    return (10_000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)


def read(path: Path) -> list[bytes]:
    with WavInput(path) as sound:
        return list(sound)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_any_rate_becomes_the_adapters(rate: int, tmp_path: Path) -> None:
    path = written(tmp_path / "tone.wav", tone(1, rate).tobytes(), rate=rate)

    frames = read(path)

    samples = np.frombuffer(b"".join(frames), dtype="<i2").astype(float)
    assert {len(frame) for frame in frames} == {FRAME_BYTES}
    assert len(frames) == pytest.approx(50, abs=1)
    # The loudest frequency of one second, in Hz.
    assert np.abs(np.fft.rfft(samples[:16_000])).argmax() == pytest.approx(440, abs=2)


@pytest.mark.parametrize("rate, mirrored", [(8_000, 0.25), (7_350, 0.25), (16_000, 0.0)])
def test_what_a_telephone_leaves_out_is_made_up(rate: int, mirrored: float, tmp_path: Path) -> None:
    """At the odd rate the resampler's pieces are odd, too: one must not turn the mirror of the next round."""
    path = written(tmp_path / "tone.wav", tone(1, rate).tobytes(), rate=rate)

    samples = np.frombuffer(b"".join(read(path)), dtype="<i2")[:16_000]
    spectrum = np.abs(np.fft.rfft(samples))

    assert spectrum[8_000 - 440] / spectrum[440] == pytest.approx(mirrored, abs=0.01)


def test_the_channels_are_mixed(tmp_path: Path) -> None:
    stereo = np.array([[1000, 3000], [-100, 0]] * 160, dtype="<i2")
    path = written(tmp_path / "stereo.wav", stereo.tobytes(), channels=2)

    assert np.frombuffer(read(path)[0], dtype="<i2").tolist() == [2000, -50] * 160


def test_the_last_frame_is_filled_up(tmp_path: Path) -> None:
    path = written(tmp_path / "short.wav", b"\1\1" * 321)

    assert read(path) == [b"\1\1" * 320, b"\1\1" + bytes(FRAME_BYTES - 2)]


def test_no_sound_is_no_frame(tmp_path: Path) -> None:
    assert read(written(tmp_path / "empty.wav", b"")) == []


def test_it_knows_how_long_it_is(tmp_path: Path) -> None:
    with WavInput(written(tmp_path / "tone.wav", tone(1.5, 8_000).tobytes(), rate=8_000)) as sound:
        assert sound.duration_s == 1.5


def test_a_file_that_was_cut_off_is_heard_as_far_as_it_goes(tmp_path: Path) -> None:
    path = written(tmp_path / "cut.wav", b"\1\1" * 640)
    path.write_bytes(path.read_bytes()[:-3])

    assert b"".join(read(path)).rstrip(b"\0") == b"\1\1" * 638


@pytest.mark.parametrize(
    "sample_bytes, channels, advice",
    [(1, 1, "of 8 bits"), (3, 2, "of 24 bits"), (2, 6, "has 6 channel")],
    ids=["8 bits", "24 bits", "six channels"],
)
def test_what_is_not_16_bit_mono_or_stereo_is_refused(
    sample_bytes: int, channels: int, advice: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "other.wav", b"", sample_bytes=sample_bytes, channels=channels)

    with pytest.raises(ContractViolation, match=f"{advice}.*save it as mono or stereo of 16 bits"):
        WavInput(path)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"no sound at all, but long enough to be some"])
def test_what_is_no_wav_file_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.wav"
    path.write_bytes(data)

    with pytest.raises(ContractViolation, match="save it as 16-bit PCM"):
        WavInput(path)


def test_a_file_that_is_not_there_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        WavInput(tmp_path / "nowhere.wav")
