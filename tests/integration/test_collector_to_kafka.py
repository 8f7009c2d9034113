"""By a real Collector a real Kafka gets what the exporter would write, as the README's table says."""

from __future__ import annotations

import copy
import json
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.records import AUDIT, TIME, as_bytes
from tests.rig.kafka import KafkaCluster
from tests.rig.otelcol import Collector
from tests.rig.process import HeldPort
from tests.ways_in.running import read

from .collectors import (
    CONFIGURATIONS,
    CORPUS,
    Fields,
    category_of,
    create_topics,
    emitted,
    export,
    fields_given,
    log_record,
    send,
    table,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), pytest.mark.usefixtures("collector_binary")]


def to_kafka(tmp_path: Path, kafka: KafkaCluster, prefix: str, port: HeldPort) -> Collector:
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "ONEX_TOPIC_PREFIX": prefix,
        "OTLP_HOST": "127.0.0.1",
        "OTLP_HTTP_PORT": port.address.split(":")[1],
        "OTLP_GRPC_PORT": "0",
    }
    return Collector(tmp_path / "collector", [CONFIGURATIONS / "to-kafka.yaml"], variables)


def written(kafka: KafkaCluster, prefix: str, counts: dict[str, int]) -> dict[str, Fields]:
    """What is in the topics, by the attribute that tells which record it is."""
    found = {}
    for category, n in counts.items():
        for message in read(kafka.bootstrap_servers, f"{prefix}omninode.logging.{category}.v1", n):
            document = json.loads(message.value() or b"")
            found[document["payload"]["context"]["at"]] = {
                "envelope": document,
                "order": list(document),
                "headers": {header[0]: as_bytes(header[1]) for header in message.headers() or []},
                "key": message.key(),
                "timestamp": message.timestamp()[1],
            }
    return found


def _without_id(fields: Fields) -> None:
    envelope = fields["envelope"]
    event_id = envelope["event_id"]
    if event_id.replace("-", "").startswith(f"{TIME // 10**6:012x}7"):
        for name in ("event_id", "correlation_id", "causation_id"):
            if envelope[name] == event_id:
                envelope[name] = "a UUIDv7 of the record's time"


def _top_only(fields: Fields) -> None:
    context = fields["envelope"]["payload"]["context"]
    if "password" in context:
        del context["password"]
        context["a"] = {"token": "hunter2"}


def _sorted_body(fields: Fields) -> None:
    payload = fields["envelope"]["payload"]
    if str(payload.get("message", "")).startswith("{"):
        payload["message"] = json.dumps(json.loads(payload["message"]), sort_keys=True, separators=(",", ":"))


def _no_headers(fields: Fields) -> None:
    for name in ("x-correlation-id", "x-causation-id", "traceparent", "x-traceparent"):
        fields["headers"].pop(name, None)


def _senders_key(fields: Fields) -> None:
    fields["key"] = b"shop" if "service_name" in fields["envelope"]["payload"] else b"acme"
    fields["headers"]["x-tenant"] = b"acme"


#: Each line of the README's table, as what it does.
WRITTEN: dict[str, Callable[[Fields], object]] = {
    "event_id": _without_id,
    "sensitive attributes": _top_only,
    "body that is no text": _sorted_body,
    "headers per record": _no_headers,
    "key and x-tenant": _senders_key,
    "Kafka's timestamp": lambda fields: fields.update(timestamp="when it was sent"),
    "order of members": lambda fields: fields.update(order=sorted(fields["order"])),
}


def test_what_is_written_is_what_the_exporter_writes(
    kafka: KafkaCluster, prefix: str, port: HeldPort, tmp_path: Path
) -> None:
    """Each record gets to the same topic as the same envelope, but for the lines of the README's table."""
    assert table("To Kafka") == list(WRITTEN)
    records = [
        log_record({**(record.log_record.attributes or {}), "at": f"{at}"}, **fields_given(record))
        for at, record in enumerate(CORPUS)
    ]
    counts = Counter(category_of(emitted(record)) for record in records)
    export(kafka, prefix, records)
    ours = written(kafka, prefix, counts)
    other = f"{prefix}c."
    create_topics(kafka, other)
    with to_kafka(tmp_path, kafka, other, port):
        assert send(port, records) == 200
        theirs = written(kafka, other, counts)
    changes = dict.fromkeys(WRITTEN, 0)
    for fields in ours.values():
        for name, change in WRITTEN.items():
            before = copy.deepcopy(fields)
            change(fields)
            changes[name] += fields != before
    assert all(changes.values()), changes
    assert theirs.keys() == ours.keys()
    for fields in theirs.values():
        assert fields["timestamp"] > TIME // 10**6
        fields["timestamp"] = "when it was sent"
        _without_id(fields)
    assert theirs == ours


def test_what_is_no_event_is_kept_whole(kafka: KafkaCluster, prefix: str, port: HeldPort, tmp_path: Path) -> None:
    """An unknown category, or a field that is missing or wrong, goes to a topic of its own; the others are written."""
    wrong = [
        log_record({"omni.category": "billing"}, body="one"),
        log_record({**AUDIT, "omni.audit.outcome": "maybe"}, event_name="omni.audit", body="two"),
        log_record({"omni.category": "security"}, body="three"),
        log_record({"f": float("nan"), "g": float("inf")}, body="four"),
        log_record(body="five"),
    ]
    with to_kafka(tmp_path, kafka, prefix, port):
        assert send(port, wrong) == 200
        rejected = read(kafka.bootstrap_servers, f"{prefix}omninode.logging.rejected", 1)
        good = read(kafka.bootstrap_servers, f"{prefix}omninode.logging.application.v1", 2)
    bodies = [
        each["body"]["stringValue"]
        for message in rejected
        for resource in json.loads(message.value() or b"")["resourceLogs"]
        for scope in resource["scopeLogs"]
        for each in scope["logRecords"]
    ]
    assert sorted(bodies) == ["one", "three", "two"]
    assert {json.loads(message.value() or b"")["payload"]["message"] for message in good} == {"four", "five"}


def test_a_client_is_told_when_kafka_has_not_taken_its_records(
    kafka: KafkaCluster, port: HeldPort, tmp_path: Path
) -> None:
    """Without its topic, as with Kafka away, a request fails within its client's time, so that it is sent again."""
    with to_kafka(tmp_path, kafka, f"t{uuid.uuid4().hex[:12]}.", port):
        assert send(port, [log_record()]) in (429, 500, 502, 503, 504)
