"""One librdkafka producer, and who is in a call to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_kafka_exporter.kafka.client import Client
from otel_kafka_exporter.kafka.reports import Reports
from tests.interrupting import interrupt_at_signal_point
from tests.waiting import until


class Quiet:
    """What librdkafka's lines are told."""

    def log(self, *_: object) -> None:
        pass


@pytest.fixture
def client() -> Iterator[Client]:
    """A client of a cluster that is not there."""
    made = Client({"bootstrap.servers": "127.0.0.1:1"}, Quiet(), Reports(), lambda _error: None, lambda _client: None)
    until(lambda: made.is_open, what="the client")
    yield made
    made.give_up()
    made.wait_closed(5)


def test_ctrl_c_within_a_call_leaves_nobody_inside(client: Client) -> None:
    """Wherever Python raises it, the thread can call the client again, which nobody may from within a call."""

    def call() -> None:
        with client.used() as producer:
            producer.poll(0)

    number, interrupted = 0, True
    while interrupted:
        number += 1
        interrupted = interrupt_at_signal_point(number, call)
        assert not client.is_inside(), number
    assert number > 5
