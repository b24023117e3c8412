"""What can be told of a run afterwards, from its records: what was never heard, heard late, or heard twice."""

from __future__ import annotations

from realtime_async._core.reporting import ReportFold, report_of
from realtime_async._core.run_report import (
    Carried,
    OpenIntent,
    RestartTold,
    Resumption,
    RunReport,
    SessionReport,
    ToldFrames,
)
from realtime_async._core.steps import Step, steps_of
from realtime_async._core.usage import UsageTold
from realtime_async._core.verifying import RunCheck

__all__ = [
    "Carried",
    "OpenIntent",
    "ReportFold",
    "RestartTold",
    "Resumption",
    "RunCheck",
    "RunReport",
    "SessionReport",
    "Step",
    "ToldFrames",
    "UsageTold",
    "report_of",
    "steps_of",
]
