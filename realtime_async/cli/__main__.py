from __future__ import annotations

from realtime_async.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
