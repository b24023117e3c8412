"""The pure core: plain functions on plain values.  No clock, no ids drawn, no log, no I/O."""

__all__: list[str] = []
