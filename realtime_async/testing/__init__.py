"""
The test kit: virtual time, journals that go wrong, cancellation at every point, recorded runs as scripts.

A journal or an adapter of one's own is proven by `JournalContract` and `AdapterContract`.
The provider of most tests is `realtime_async.adapters.scripted.ScriptedAdapter`.
Nothing is imported before it is asked for, so what needs pytest or Hypothesis asks for them alone.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realtime_async.testing.adapter_contract import AdapterContract, ProviderSide
    from realtime_async.testing.cancellation import (
        Cancellation,
        Ending,
        Moment,
        Outcome,
        cancel_at_every_point,
        ways_to_cancel,
    )
    from realtime_async.testing.clock import VirtualTimeLoop, backend_options, run_virtual
    from realtime_async.testing.journal_contract import JournalContract
    from realtime_async.testing.journals import (
        CrashingJournal,
        CrashPoint,
        FaultyJournal,
        JournalFault,
        ProcessDied,
        RecordingJournal,
        SuspendingJournal,
    )
    from realtime_async.testing.playback import Pace, script_of
    from realtime_async.testing.run_list_contract import RunListContract

__all__ = [
    "AdapterContract",
    "Cancellation",
    "CrashPoint",
    "CrashingJournal",
    "Ending",
    "FaultyJournal",
    "JournalContract",
    "JournalFault",
    "Moment",
    "Outcome",
    "Pace",
    "ProcessDied",
    "ProviderSide",
    "RecordingJournal",
    "RunListContract",
    "SuspendingJournal",
    "VirtualTimeLoop",
    "backend_options",
    "cancel_at_every_point",
    "run_virtual",
    "script_of",
    "ways_to_cancel",
]

_HOMES = {
    "adapter_contract": ["AdapterContract", "ProviderSide"],
    "cancellation": [
        "Cancellation",
        "Ending",
        "Moment",
        "Outcome",
        "cancel_at_every_point",
        "ways_to_cancel",
    ],
    "clock": ["VirtualTimeLoop", "backend_options", "run_virtual"],
    "journal_contract": ["JournalContract"],
    "journals": [
        "CrashPoint",
        "CrashingJournal",
        "FaultyJournal",
        "JournalFault",
        "ProcessDied",
        "RecordingJournal",
        "SuspendingJournal",
    ],
    "playback": ["Pace", "script_of"],
    "run_list_contract": ["RunListContract"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

if "pytest" in sys.modules:
    # So that a promise that is not kept is explained with its values, as the assertions of a test are.
    sys.modules["pytest"].register_assert_rewrite(
        *(f"{__name__}.{home}" for home in _HOMES if home.endswith("_contract"))
    )


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
