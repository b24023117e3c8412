"""Speech providers, each in a module of its own; nothing is imported before it is asked for."""

from __future__ import annotations

__all__: list[str] = []
