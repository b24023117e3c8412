"""A session runtime for realtime voice agents, on asyncio and Trio."""

from __future__ import annotations

from realtime_async._version import __version__

__all__ = ["__version__"]
