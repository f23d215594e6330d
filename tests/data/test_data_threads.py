"""Threads that read samples: in order, a few ahead, and none after an error."""

import threading

import pytest

from seglab.data.threads import in_threads


def test_results_come_in_order_and_only_a_few_are_made_ahead() -> None:
    """So that a large data set needs no more memory than a small one."""
    made: list[int] = []
    results = in_threads(lambda index: made.append(index) or index, 10_000)  # type: ignore[func-returns-value]
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert len(made) < 100
    assert list(results) == list(range(5, 10_000))
    assert sorted(made) == list(range(10_000))


def test_the_first_error_ends_the_reading() -> None:
    made: list[int] = []

    def read(index: int) -> int:
        made.append(index)
        if index == 3:
            raise ValueError("the third")
        return index

    before = threading.active_count()
    with pytest.raises(ValueError, match="the third"):
        list(in_threads(read, 10_000))
    assert len(made) < 100
    assert threading.active_count() == before


def test_nothing_to_read_is_nothing() -> None:
    assert list(in_threads(lambda index: index, 0)) == []
