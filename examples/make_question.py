"""
Speak a sentence into a WAV file: what the offline bot is asked, where nobody else asks it.

    python examples/make_question.py "please book a table for two" --output examples/question.wav
"""

from __future__ import annotations

import argparse
import sys
import wave
from io import TextIOWrapper
from pathlib import Path

from realtime_async import AgentError

try:
    import numpy as np
    import soxr

    from realtime_async.adapters.local import Voice
except ImportError as missing:
    sys.exit(f"make_question: {missing.name} is missing: pip install -e '.[local]'")


SAMPLE_RATE = 16_000
PAUSE = bytes(SAMPLE_RATE // 5 * 2)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Speak a sentence into a WAV file.")
    parser.add_argument("text", nargs="?", default="please book a table for two")
    parser.add_argument("--voice", default="en-us", help="of espeak-ng; en-us+f2 is another speaker")
    parser.add_argument("--output", default="question.wav", metavar="FILE.wav")
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        # A file may be called what it has no letters for.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        voice = Voice(options.voice)
        speech = np.frombuffer(voice.speak(options.text), dtype="<i2")
        resampled = soxr.resample(speech, voice.sample_rate, SAMPLE_RATE).astype("<i2").tobytes()
        with Path(options.output).open("wb") as raw, wave.open(raw, "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
            file.writeframes(PAUSE + resampled + PAUSE)
    except (AgentError, ImportError, OSError) as error:
        sys.exit(f"make_question: {error}")
    print(f"{options.output}: {(len(resampled) + 2 * len(PAUSE)) / 2 / SAMPLE_RATE:.1f} s")


if __name__ == "__main__":
    main()
