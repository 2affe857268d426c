"""Threads that compute side by side: order, errors, and whose thread count is changed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest
import torch

from model_core.workers import MAX_WORKERS, Workers


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_order(count):
    def late_first(number: int) -> int:
        sleep(0.02 / (number + 1))
        return number**2

    assert list(Workers(count).map(late_first, range(7))) == [0, 1, 4, 9, 16, 25, 36]
    assert list(Workers(count).map(late_first, [])) == []


def test_two_work_at_the_same_time_and_no_more():
    both, at_work, most, lock = threading.Barrier(2, timeout=30), [0], [0], threading.Lock()

    def work(number: int) -> None:
        with lock:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        both.wait()  # would time out if one worked alone
        with lock:
            at_work[0] -= 1

    list(Workers(2).map(work, range(8)))
    assert most == [2]


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_is_raised_at_its_place(count):
    def work(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        return number

    workers, found = Workers(count), []
    with pytest.raises(ValueError, match="two"):
        found.extend(workers.map(work, range(5)))
    assert list(workers.map(work, [5, 6])) == [5, 6]  # and it goes on working


def test_each_has_its_share_of_torch_threads_and_nobody_else_loses_any(four_threads):
    """However many are made, and whichever thread uses them first."""
    def shares(workers: Workers) -> list[int]:
        return list(workers.map(lambda _: torch.get_num_threads(), range(4)))

    def in_a_new_thread(function, *args):
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(function, *args).result()

    for _ in range(3):
        workers = Workers(2)
        assert in_a_new_thread(shares, workers) == shares(workers) == [2] * 4
        assert torch.get_num_threads() == in_a_new_thread(torch.get_num_threads) == 4


def test_an_error_waits_for_what_is_at_work():
    ended = []

    def work(number: int) -> None:
        if number == 0:
            raise ValueError("first")
        sleep(0.05)
        ended.append(number)

    with pytest.raises(ValueError, match="first"):
        list(Workers(2).map(work, range(2)))
    assert ended == [1]


def test_one_works_in_the_thread_of_the_caller():
    assert set(Workers(1).map(lambda _: threading.get_ident(), range(3))) == {threading.get_ident()}


def test_as_many_as_suit_the_device(four_threads):
    assert Workers.on(torch.device("cpu")).count == MAX_WORKERS
    assert Workers.on(torch.device("cuda")).count == 1
    torch.set_num_threads(1)
    assert Workers.on(torch.device("cpu")).count == 1
