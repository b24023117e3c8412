"""How a question ends, whoever answered it."""

from __future__ import annotations

import pytest
import typer

from realtime_async.cli._asking import Exit, answer
from realtime_async.errors import JournalCorrupt, JournalFailure

__all__: list[str] = []


@pytest.mark.parametrize(
    "raised, code",
    [
        (KeyboardInterrupt(), 130),
        (BaseExceptionGroup("of tasks", [KeyboardInterrupt(), ValueError()]), 130),
        (JournalCorrupt("record 4 is damaged"), 1),
        (ExceptionGroup("of tasks", [ExceptionGroup("of more", [JournalFailure("the disk is full")])]), 2),
        (ExceptionGroup("of tasks", [FileNotFoundError("gone")]), 2),
    ],
)
def test_a_failure_ends_with_its_code_also_out_of_a_task_group(
    raised: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work() -> Exit:
        raise raised

    with pytest.raises(typer.Exit) as ended:
        answer(work)

    assert ended.value.exit_code == code
    assert len(capsys.readouterr().err.splitlines()) == (code != 130)


def test_a_fault_of_the_command_itself_is_not_hidden() -> None:
    async def work() -> Exit:
        raise ExceptionGroup("of tasks", [ZeroDivisionError()])

    with pytest.raises(ExceptionGroup):
        answer(work)
