"""
A speech provider in this process: voice activity, recogniser, brain and voice, from wheels alone.

It needs the extra `local`, whose voice, espeak-ng, is licensed under the GPL, version 3 or later.
"""

from __future__ import annotations

from realtime_async.adapters.local import _extra as _extra
from realtime_async.adapters.local.adapter import LocalSpeechAdapter
from realtime_async.adapters.local.brain import COMMANDS, Brain, CallTool, answer_command
from realtime_async.adapters.local.voice import Voice

__all__ = ["COMMANDS", "Brain", "CallTool", "LocalSpeechAdapter", "Voice", "answer_command"]
