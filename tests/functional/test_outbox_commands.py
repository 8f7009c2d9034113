"""`otel-kafka outbox`, run as an operator runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from opentelemetry.sdk._logs.export import LogRecordExportResult

from otel_kafka_exporter.records.kafka_record import KafkaRecord
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .pipelines import TOPIC, arrived, audit_records, delivery_of, exporting, records


def otel_kafka(
    kafka: EmbeddedKafka, *arguments: str, answer: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("otel-kafka")), "outbox", *arguments],
        env={**os.environ, "OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, **environment},
        input=answer,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_nothing_there(embedded_kafka: EmbeddedKafka, outbox_dir: Path) -> None:
    """Without any outbox, `status` says where it looked."""
    run = otel_kafka(embedded_kafka, "status")
    assert (run.returncode, run.stdout) == (0, f"no outbox in {outbox_dir}\n")


@pytest.mark.parametrize("limit", ["-1", "0"])
def test_a_limit_is_at_least_one(embedded_kafka: EmbeddedKafka, limit: str) -> None:
    """A number that cannot be shown is wrong usage."""
    run = otel_kafka(embedded_kafka, "list", "--limit", limit)
    assert (run.returncode, run.stdout) == (2, "")
    assert f"{limit} is not in the range x>=1" in run.stderr


def test_status_list_and_drain(embedded_kafka: EmbeddedKafka) -> None:
    """What a dead process left is named and shown, and delivered by `drain`."""
    embedded_kafka.down()
    with exporting(embedded_kafka, delivery_wait=0.2) as exporter:
        exporter.export([*records(["one", "two"]), *audit_records(["three"])])
        [living] = json.loads(otel_kafka(embedded_kafka, "status", "--json").stdout)
        assert (living["alive"], living["owner"]["pid"]) == (True, os.getpid())
        assert living["records"] == {"application": 2, "audit": 1}
    [dead] = json.loads(otel_kafka(embedded_kafka, "status", "--json").stdout)
    assert dead["alive"] is False
    assert dead["bytes"] > 0
    assert 0 <= dead["oldest_seconds"] < 60
    shown = otel_kafka(embedded_kafka, "status").stdout
    assert "records       application 2, audit 1" in shown
    assert f"in all          {dead['bytes']:,} bytes; outbox_directory_max_bytes is {4 << 28:,}" in shown
    lines = otel_kafka(embedded_kafka, "list", "--json").stdout.splitlines()
    assert [json.loads(line)["topic"] for line in lines].count(TOPIC) == 2
    assert otel_kafka(embedded_kafka, "drain", "--timeout", "1").returncode == 1
    embedded_kafka.up()
    run = otel_kafka(embedded_kafka, "drain")
    assert (run.returncode, run.stdout) == (0, "3 delivered, 0 left, 0 dead letters\n")
    assert arrived(embedded_kafka) == ["one", "two"]


def test_dead_letters_are_sent_again(embedded_kafka: EmbeddedKafka) -> None:
    """`retry` sends what Kafka refused; what it takes now is a dead letter no more. What cannot be sent stays."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["first"]))
        embedded_kafka.fail_next(KafkaError.INVALID_RECORD, 2)
        exporter.export(records(["refused"]))
        exporter.export(records(["broken"], **{"omni.category": "audit"}))
        until(lambda: exporter.stats().dead_lettered == 2)
        run = otel_kafka(embedded_kafka, "retry")
        assert (run.returncode, run.stdout) == (0, "1 delivered, 0 refused again, 1 cannot be sent as they are\n")
        assert arrived(embedded_kafka) == ["first", "refused"]
        shown = otel_kafka(embedded_kafka, "list", "--dead-letters").stdout
        assert shown.count("\n") == 1
        assert "conversion:omni.audit.action" in shown


@pytest.mark.parametrize(("answer", "left"), [("n\n", 1), ("y\n", 0)])
def test_purge_asks(answer: str, left: int, embedded_kafka: EmbeddedKafka) -> None:
    """Nothing is deleted before somebody has said so."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["broken"], **{"omni.category": "audit"}))
    otel_kafka(embedded_kafka, "purge", answer=answer)
    assert otel_kafka(embedded_kafka, "list", "--dead-letters").stdout.count("\n") == left
    assert otel_kafka(embedded_kafka, "purge", "--yes").stdout == f"{left} deleted\n"


def test_what_is_purged_makes_room_in_a_process_that_lives(embedded_kafka: EmbeddedKafka) -> None:
    """Dead letters that fill their share are gone from its process's counts once an operator has purged them."""
    broken = records(["broken"], **{"omni.category": "audit", "pad": "x" * 9_000})
    with exporting(embedded_kafka, outbox_max_bytes=1 << 20) as exporter:
        exporter.export(records(["its thread runs"]))
        while not exporter.stats().dropped:
            exporter.export(broken)
        kept, lost = exporter.stats().dead_lettered, exporter.stats().dropped["dead_letters_full"]
        assert kept > 10
        assert otel_kafka(embedded_kafka, "purge", "--yes").stdout == f"{kept} deleted\n"
        until(lambda: exporter.stats().dead_lettered == 0)
        assert exporter.stats().dropped == {"dead_letters_full": lost, "settled_by_operator": kept}
        assert exporter.export(broken) is LogRecordExportResult.SUCCESS
        assert exporter.stats().dropped["dead_letters_full"] == lost


def test_drain_delivers_more_than_there_is_room_for_at_once(embedded_kafka: EmbeddedKafka) -> None:
    """What several processes have left is adopted part by part, until nothing is left."""
    embedded_kafka.down()
    for process in range(3):
        with exporting(embedded_kafka, delivery_wait=0.1) as exporter:
            delivery_of(exporter)._background.stop(5)  # it would take what the one before has left
            exporter.export(records([f"{process} {n} {'x' * 1_000}" for n in range(400)]))
    embedded_kafka.up()
    run = otel_kafka(embedded_kafka, "drain", OTEL_EXPORTER_KAFKA_OUTBOX_MAX_BYTES=str(1 << 20))
    assert (run.returncode, run.stdout) == (0, "1200 delivered, 0 left, 0 dead letters\n")
    assert len(set(arrived(embedded_kafka))) == 1_200


def test_retry_says_that_no_kafka_answers(embedded_kafka: EmbeddedKafka) -> None:
    """Where Kafka is away, no dead letter is taken for delivered or for another's: they stay, and that is said."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["first"]))
        embedded_kafka.fail_next(KafkaError.INVALID_RECORD, 2)
        exporter.export(records(["refused"]))
        until(lambda: exporter.stats().dead_lettered == 1)
    embedded_kafka.down()
    run = otel_kafka(embedded_kafka, "retry")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.splitlines()[-1] == (
        f"no Kafka answers at {embedded_kafka.bootstrap_servers} within 5 s; dead letters that stay where they are: 1"
    )
    embedded_kafka.up()
    assert otel_kafka(embedded_kafka, "retry").stdout.startswith("1 delivered, ")


def test_retry_goes_on_behind_what_is_refused_again(embedded_kafka: EmbeddedKafka) -> None:
    """A dead letter that cannot even be sent, or a full local queue, costs the others nothing."""
    with exporting(embedded_kafka) as exporter:
        exporter.export(records(["first"]))
        state = delivery_of(exporter)._state
        with state.lock:
            for value in (b"x" * 1_500_000, *(b"%d" % n for n in range(50))):
                entry = state.outside(KafkaRecord(TOPIC, b"shop", value, [], 0), None)
                state.dead_letter(state.lanes["application"], entry, "record_too_large")
        run = otel_kafka(embedded_kafka, "retry", OTEL_EXPORTER_KAFKA_QUEUE_MAX_RECORDS="10")
        assert run.returncode == 1
        assert run.stdout == "50 delivered, 1 refused again (1 MSG_SIZE_TOO_LARGE), 0 cannot be sent as they are\n"
        until(lambda: exporter.stats().dead_lettered == 1)
        assert len(embedded_kafka.messages(TOPIC)) == 51
