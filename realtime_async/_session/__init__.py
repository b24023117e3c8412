"""What `open_session` adds to a controller: nothing here is public."""

__all__: list[str] = []
