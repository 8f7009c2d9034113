"""Outcomes on their way to the event loop whose tasks await them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

import pytest

from otel_kafka_exporter.delivery import Delivery, Entry
from otel_kafka_exporter.process import DeliveryOutcome
from otel_kafka_exporter.publisher.inbox import Inbox
from tests.interrupting import strike_at_signal_point


class TimeLimitError(Exception):
    """What a signal handler raises; asyncio passes over it in a callback."""


class Hurried:
    """All of delivery that an inbox needs as long as there is room."""

    def __init__(self) -> None:
        self.times = 0

    def hurry(self) -> None:
        self.times += 1


async def _answered(number: int) -> tuple[bool, bool]:
    """Whether a handler struck at this point of the loop's callback, and whether all tasks were answered then."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    inbox = Inbox(loop, cast("Delivery", Hurried()), 0.2)
    awaited = [inbox.awaited() for _ in range(2)]
    tasks = [asyncio.ensure_future(inbox.outcome(each)) for each in awaited]
    await asyncio.sleep(0)
    for each in awaited:
        each.tell(DeliveryOutcome.DELIVERED)

    def strike() -> None:
        raise TimeLimitError

    struck = True  # unless the callback ends without

    def resolve() -> None:
        nonlocal struck
        struck = strike_at_signal_point(number, inbox._resolve, strike)

    loop.call_soon(resolve)
    await asyncio.sleep(0)
    later = inbox.awaited()
    tasks.append(asyncio.ensure_future(inbox.outcome(later)))
    await asyncio.sleep(0)
    later.tell(DeliveryOutcome.DELIVERED)
    inbox.announce()
    done, _ = await asyncio.wait(tasks, timeout=5)
    return struck, len(done) == 3


def test_a_time_limit_in_the_loops_own_callback_leaves_no_task_waiting() -> None:
    """Wherever a signal handler raises in it, each task has its outcome, at its deadline at the latest."""
    number, struck = 0, True
    while struck:
        number += 1
        struck, answered = asyncio.run(_answered(number))
        assert answered, number
    assert number > 5


async def _ended(number: int, at: str) -> tuple[bool, bool]:
    """Whether a handler struck at this point of a call, and whether a later task's record was sent and it answered."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    delivery = Hurried()
    inbox = Inbox(loop, cast("Delivery", delivery), 0.01)
    called = getattr(inbox, at)
    struck = True  # unless the call ends without

    def strike() -> None:
        raise TimeLimitError

    def interrupted(*arguments: object) -> object:
        nonlocal struck
        setattr(inbox, at, called)
        returned: list[object] = []
        struck = strike_at_signal_point(number, lambda: returned.append(called(*arguments)), strike)
        return returned[0]

    async def outcome() -> None:
        with contextlib.suppress(TimeLimitError, asyncio.CancelledError):
            await inbox.outcome(inbox.awaited())

    setattr(inbox, at, interrupted)
    tasks = [asyncio.ensure_future(outcome())]
    await asyncio.sleep(0.02)
    hurried = delivery.times
    tasks.append(asyncio.ensure_future(outcome()))
    done, _ = await asyncio.wait(tasks, timeout=5)
    return struck, len(done) == 2 and delivery.times > hurried


@pytest.mark.parametrize("at", ["outcome", "_expire"])
def test_a_time_limit_leaves_no_task_without_its_deadline(at: str) -> None:
    """Wherever a signal handler raises, in a call or at a deadline, a later record is sent and its task answered."""
    number, struck = 0, True
    while struck:
        number += 1
        struck, answered = asyncio.run(_ended(number, at))
        assert answered, number
    assert number > 2


class ClosedWithin(Hurried):
    """Delivery whose second try is interrupted by a handler that gives everything up, as a publisher's end does."""

    def __init__(self) -> None:
        super().__init__()
        self.placed: list[object] = []
        self.inbox: Inbox | None = None

    def try_again(self, entry: object) -> bool:
        inbox, self.inbox = self.inbox, None
        if inbox is not None:
            inbox.finish(0.0)
        else:
            self.placed.append(entry)
        return True

    def give_up(self, entry: object) -> None:
        self.placed.append(entry)


def test_a_handler_that_closes_while_records_are_let_in() -> None:
    """Each record has its place once, and the call that it interrupted goes on."""

    async def run() -> list[object]:
        delivery = ClosedWithin()
        inbox = delivery.inbox = Inbox(asyncio.get_running_loop(), cast("Delivery", delivery), 0.2)
        for number in range(3):
            inbox.wait_for_room(inbox.awaited(), cast("Entry", number))
        inbox.let_in()
        return delivery.placed

    assert asyncio.run(run()) == [0, 1, 2]
