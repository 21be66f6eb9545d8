"""The thread of outgoing requests: its name, the names of its tasks, and its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from services.outgoing import AsyncRunner


@pytest.fixture
def runner() -> Iterator[AsyncRunner]:
    runner = AsyncRunner()
    yield runner
    runner.close()


async def current_names() -> tuple[str, str]:
    task = asyncio.current_task()
    assert task
    return threading.current_thread().name, task.get_name()


def test_thread_and_tasks_are_named(runner: AsyncRunner) -> None:
    assert runner.submit(current_names()).result(20) == ("outgoing", "current_names")


def test_cancelling_the_future_cancels_the_coroutine(runner: AsyncRunner) -> None:
    started, cancelled = threading.Event(), threading.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    future = runner.submit(work())
    assert started.wait(20)
    future.cancel()
    assert cancelled.wait(20)


def test_closing_waits_for_background_tasks(runner: AsyncRunner) -> None:
    ended = threading.Event()

    async def work() -> None:
        await asyncio.sleep(0.1)
        ended.set()

    async def start() -> None:
        runner.run_in_background(work())

    runner.submit(start()).result(20)
    runner.close()
    assert ended.is_set()


def test_collected_generator_is_closed(runner: AsyncRunner) -> None:
    closed, failures = threading.Event(), list[Any]()

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closed.set()

    async def work() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, failure: failures.append(failure))
        await anext(numbers())

    runner.submit(work()).result(20)
    assert closed.wait(20)
    assert failures == []
