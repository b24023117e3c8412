"""The kit's front door."""

from __future__ import annotations

import subprocess
import sys

import pytest

from realtime_async import testing


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_is_found_where_it_is_asked_for(name: str) -> None:
    assert getattr(testing, name).__name__ == name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = testing.Nothing


def test_journals_that_go_wrong_need_no_test_runner() -> None:
    program = (
        "import sys; from realtime_async.testing import FaultyJournal, cancel_at_every_point, run_virtual, script_of;"
        "sys.exit(bool({'pytest', 'hypothesis', 'trio'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
