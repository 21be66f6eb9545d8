"""Fair queuing: keys take turns, and no key has more active items than allowed."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from server.fair_queue import FairQueue


def drained(queue: FairQueue[int]) -> list[tuple[str, int]]:
    queue.close()
    return list(iter(queue.get, None))


@given(st.lists(st.sampled_from("abc")))
def test_each_key_is_in_order_and_none_waits_for_a_longer_one(keys: list[str]) -> None:
    queue: FairQueue[int] = FairQueue()
    for number, key in enumerate(keys):
        queue.put(key, number)
    assert len(queue) == len(keys)
    out = drained(queue)
    for key in "abc":
        own = [number for number, each in enumerate(keys) if each == key]
        assert [number for each, number in out if each == key] == own
        for place, number in enumerate(own):  # before the n-th item of a key are at most n of each other key
            before = Counter(each for each, _ in out[: out.index((key, number))])
            assert all(count <= place + 1 for other, count in before.items() if other != key)


def test_no_more_items_of_a_key_are_active_than_allowed() -> None:
    queue: FairQueue[int] = FairQueue(max_active=2)
    for number in range(5):
        queue.put("greedy", number)
    assert [queue.get_nowait() for _ in range(3)] == [("greedy", 0), ("greedy", 1), None]
    queue.put("other", 9)
    assert queue.get_nowait() == ("other", 9)
    queue.task_done("greedy")
    assert [queue.get_nowait() for _ in range(2)] == [("greedy", 2), None]


def test_waiting_threads_get_all_items_and_end_when_it_is_closed() -> None:
    queue: FairQueue[int] = FairQueue(max_active=1)
    got: list[tuple[str, int]] = []

    def work() -> None:
        while found := queue.get():
            got.append(found)
            queue.task_done(found[0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(400):
        queue.put(str(number % 3), number)
    queue.close()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(number for _, number in got) == list(range(400))


def test_waiting_for_a_length_returns_whether_it_was_reached() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.put("a", 1)
    assert queue.wait_for_length(1, 0)
    assert not queue.wait_for_length(2, 0.01)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(queue.wait_for_length, 3, 30)
        for number in (2, 3):
            queue.put("b", number)
        assert waiting.result(30)
    queue.close()
    assert not queue.wait_for_length(9, 30)
