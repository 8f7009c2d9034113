"""Running `otel-kafka tail` within the test's process, on records that were put there before."""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NamedTuple
from unittest import mock

from confluent_kafka import Producer

from otel_kafka_exporter.cli.root import run
from otel_kafka_exporter.records import KafkaRecord
from otel_kafka_exporter.testing import EmbeddedKafka


class Done(NamedTuple):
    """What a command has left: its exit code, and what it wrote."""

    code: int
    output: bytes
    errors: str

    @property
    def lines(self) -> list[str]:
        return self.output.decode().splitlines()

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @property
    def messages(self) -> list[str]:
        """Of the application records in `--json`."""
        return [document["envelope"]["payload"]["message"] for document in self.documents]


def tail(*arguments: str, command: tuple[str, ...] = ("tail",), **variables: str) -> Done:
    """Run the command line, its output into a pipe."""
    output, errors = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with (
        mock.patch.object(sys, "argv", ["otel-kafka", *command, *arguments]),
        mock.patch.dict(os.environ, variables),
        redirect_stdout(output),
        redirect_stderr(errors),
    ):
        code = run()
    output.flush()
    errors.flush()
    return Done(code, output.buffer.getvalue(), errors.buffer.getvalue().decode())


def put(kafka: EmbeddedKafka, records: Iterable[KafkaRecord], *partitions: int, compression: str = "none") -> None:
    """Put records into their topics, in their order; into these partitions in turn, unless their keys are to decide."""
    config = {"linger.ms": 5, "compression.type": compression, "log_level": 0}
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, **config})
    for each, partition in zip(records, itertools.cycle(partitions or (-1,))):
        producer.produce(
            each.topic,
            each.value,
            each.key,
            partition,
            timestamp=each.milliseconds,
            headers=each.headers,
        )
    assert producer.flush(10) == 0
    producer.close()
