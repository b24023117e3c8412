"""The kit's front door."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from realtime_async import testing
from realtime_async.testing.adapter_contract import AdapterContract
from realtime_async.testing.journal_contract import JournalContract
from realtime_async.testing.run_list_contract import RunListContract


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


@pytest.mark.parametrize(
    "contract, opens",
    [
        (AdapterContract, "open_adapter"),
        (JournalContract, "open_journal"),
        (RunListContract, "open_listed_journal"),
    ],
)
def test_a_contract_that_does_not_know_what_to_open_fails_by_its_name(contract: type, opens: str) -> None:
    unfinished = type("TestUnfinished", (contract,), {})

    # Pytest passes over an abstract class, and all would seem well.
    assert not inspect.isabstract(unfinished)
    with pytest.raises(NotImplementedError, match=r"^TestUnfinished must say how its \w+ is opened$"):
        getattr(unfinished(), opens)()
