"""The test kit: doubles for the ports, contract classes, virtual time and cancellation at every point."""

__all__: list[str] = []
