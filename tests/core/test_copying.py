"""Copies of frozen values: the same as what `attrs.evolve` gives, but for what that checks."""

from __future__ import annotations

import attrs
import pytest

from realtime_async._core.copying import copied
from realtime_async._core.cursors import CursorLabel, StreamCursor


def test_a_copy_differs_in_what_is_given_and_in_nothing_else() -> None:
    cursor = StreamCursor.chunk(3, CursorLabel.RECEIVE)

    copy = copied(cursor, {"chunk_sequence": 4})

    assert attrs.asdict(copy) == attrs.asdict(attrs.evolve(cursor, chunk_sequence=4))
    assert cursor == StreamCursor.chunk(3)


def test_a_copy_is_frozen_too() -> None:
    copy = copied(StreamCursor(), {"chunk_sequence": 4})

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        copy.chunk_sequence = 5  # type: ignore[misc]  # that is what is tried


def test_a_field_that_the_class_does_not_have_is_noticed() -> None:
    with pytest.raises(AssertionError, match="a field that it does not have"):
        copied(StreamCursor(), {"chunk": 4})
