"""An adapter that plays a script, records its calls, and goes wrong where it is told to."""

from __future__ import annotations

from realtime_async.adapters.scripted.adapter import ScriptedAdapter
from realtime_async.adapters.scripted.log import (
    CallEnded,
    CallOutcome,
    CallStarted,
    FrameTaken,
    LogEntry,
    StepSource,
)
from realtime_async.adapters.scripted.nowait import NowaitScriptedAdapter
from realtime_async.adapters.scripted.script import (
    AfterSent,
    Afterwards,
    Delay,
    Drop,
    EndOfStream,
    Fault,
    FaultTable,
    FrameFate,
    Hang,
    HangShielded,
    Kept,
    NoRoom,
    OnInterrupt,
    Operation,
    Played,
    Refuse,
    Script,
)

__all__ = [
    "AfterSent",
    "Afterwards",
    "CallEnded",
    "CallOutcome",
    "CallStarted",
    "Delay",
    "Drop",
    "EndOfStream",
    "Fault",
    "FaultTable",
    "FrameFate",
    "FrameTaken",
    "Hang",
    "HangShielded",
    "Kept",
    "LogEntry",
    "NoRoom",
    "NowaitScriptedAdapter",
    "OnInterrupt",
    "Operation",
    "Played",
    "Refuse",
    "Script",
    "ScriptedAdapter",
    "StepSource",
]
