"""
Text to speech: espeak-ng, by ctypes.

espeak-ng is free software under the GPL, version 3 or later.
It is not part of this package: the extra `local` installs it, and what is distributed together with it
falls under that licence.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import attrs

from realtime_async._core.given import shown, text
from realtime_async.adapters.local._extra import import_extra
from realtime_async.errors import ContractViolation

__all__ = ["LONGEST_TEXT", "Voice"]

# From espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_POSITION_CHARACTER = 1
_CHARS_UTF8 = 1
_PARAMETER_RATE = 1

_BUFFER_MS = 60

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

LONGEST_TEXT = 400
"""Characters that are spoken in one go, half a minute: what bounds the memory and the time of one synthesis."""


class _Espeak:
    """The one synthesiser of this process: all of its state is global, so one text is spoken at a time."""

    _making = threading.Lock()
    _instance: _Espeak | None = None

    @classmethod
    def shared(cls) -> _Espeak:
        with cls._making:
            if cls._instance is None:
                cls._instance = cls()
            return cls._instance

    def __init__(self) -> None:
        loader = import_extra("espeakng_loader")
        library = ctypes.CDLL(loader.get_library_path())
        library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
        library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
        library.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        self.sample_rate: int = library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MS, loader.get_data_path().encode(), _INITIALIZE_DONT_EXIT
        )
        if self.sample_rate <= 0:
            raise ImportError(
                "espeak-ng found no voice data: reinstall espeakng-loader", name="espeakng_loader"
            )
        self._library = library
        self._speaking = threading.Lock()
        self._pieces: list[bytes] = []
        # The library keeps a bare pointer to it.
        self._callback = _Callback(self._take)
        library.espeak_SetSynthCallback(self._callback)

    def _take(self, samples: Any, count: int, _events: int) -> int:
        if samples and count > 0:
            self._pieces.append(ctypes.string_at(samples, count * 2))
        return 0

    def choose(self, name: str) -> bool:
        return bool(self._library.espeak_SetVoiceByName(name.encode()) == 0)

    def speak(self, text: str, voice: str, words_per_minute: int) -> bytes:
        with self._speaking:
            self.choose(voice)
            self._library.espeak_SetParameter(_PARAMETER_RATE, words_per_minute, 0)
            self._pieces.clear()
            # A NUL would end it early.
            data = text.replace("\0", " ").encode(errors="replace") + b"\0"
            self._library.espeak_Synth(data, len(data), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None)
            return b"".join(self._pieces)

    def has(self, voice: str) -> bool:
        with self._speaking:
            return self.choose(voice)


@attrs.frozen
class Voice:
    """
    A voice of espeak-ng.

    Making one raises `ContractViolation` where espeak-ng has no such voice or pace, and `ImportError` where it is missing.
    """

    name: str = "en-us"
    """As espeak-ng names it; `+f2` or `+m3` and the like behind it changes the speaker."""
    words_per_minute: int = 160

    sample_rate: int = attrs.field(init=False, factory=lambda: _Espeak.shared().sample_rate)
    """Of what `speak` returns."""

    def __attrs_post_init__(self) -> None:
        text(self.name, "name of a voice")
        if type(self.words_per_minute) is not int or not 80 <= self.words_per_minute <= 450:
            raise ContractViolation(
                f"a voice of {shown(self.words_per_minute)} words_per_minute cannot speak: give 80 to 450, as espeak-ng has them"
            )
        if not _Espeak.shared().has(self.name):
            raise ContractViolation(f"espeak-ng has no voice {self.name!r}: try 'en-us', 'en' or 'en-us+f2'")

    @property
    def frame_bytes(self) -> int:
        """The size of 20 ms of speech."""
        return self.sample_rate // 50 * 2

    def speak(self, text: str) -> bytes:
        """
        Return *text* as speech: pcm16, mono.

        Takes some 10 ms a sentence and blocks, so call it in a thread; one text is spoken at a time.

        Raises:
            ContractViolation: It is longer than 400 characters.
        """
        if len(text) > LONGEST_TEXT:
            raise ContractViolation(
                f"a voice speaks at most {LONGEST_TEXT} characters in one go, not {len(text)}: split the text first"
            )
        return _Espeak.shared().speak(text, self.name, self.words_per_minute)
