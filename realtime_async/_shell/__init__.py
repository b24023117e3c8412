"""The async parts of a session: each asks the core, appends, calls the adapter, appends how it ended."""

__all__: list[str] = []
