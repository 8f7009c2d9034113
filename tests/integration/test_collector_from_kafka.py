"""From a real Kafka by a real Collector every record reaches an OTLP receiver, as the README's table says."""

from __future__ import annotations

import base64
import copy
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer
from opentelemetry._logs import SeverityNumber

from tests.records import AUDIT, SECURITY, TIME
from tests.rig.kafka import KafkaCluster
from tests.rig.otelcol import Collector
from tests.rig.otlp import OtlpReceiver
from tests.waiting import until

from .collectors import (
    CONFIGURATIONS,
    CONSUMING,
    CORPUS,
    Fields,
    category_of,
    emitted,
    export,
    fields_given,
    fields_of,
    log_record,
    table,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), pytest.mark.usefixtures("collector_binary")]


def _doubles(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _doubles(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_doubles(each) for each in value]
    return float(value[1]) if isinstance(value, tuple) else value


def _integers(fields: Fields) -> None:
    status = fields["attributes"].get("http.response.status_code")
    fields["attributes"] = _doubles(fields["attributes"])
    if status is not None:  # which the configuration names
        fields["attributes"]["http.response.status_code"] = status


def _bytes(fields: Fields) -> None:
    attributes = fields["attributes"]
    for name, value in attributes.items():
        if isinstance(value, bytes):
            attributes[name] = base64.b64encode(value).decode()


def _redacted(fields: Fields) -> None:
    attributes = fields["attributes"]
    if "password" in attributes:
        attributes.update(password="[REDACTED]", a={"token": "[REDACTED]"})


def _severity_text(fields: Fields) -> None:
    number, text = fields["severity"]
    fields["severity"] = (number, text or SeverityNumber(number).name)


def _body(fields: Fields) -> None:
    if isinstance(fields["body"], dict):
        fields["body"] = orjson.dumps(fields["body"]).decode()


def _no_body(fields: Fields) -> None:
    fields["body"] = "" if fields["body"] is None else fields["body"]


def _event_name(fields: Fields) -> None:
    is_code = fields["event_name"] and "omni.code" not in fields["attributes"]  # else the context has the name
    if category_of(fields) == "application" and is_code:
        fields["attributes"]["omni.code"] = fields["event_name"]
        fields["event_name"] = ""


def _no_severity(fields: Fields) -> None:
    if category_of(fields) != "application":
        fields["severity"] = (0, "")


def _no_scope(fields: Fields) -> None:
    if category_of(fields) != "application":
        fields["scope"] = ""
        del fields["resource"]["service.instance.id"]


def _no_resource(fields: Fields) -> None:
    fields["attributes"].setdefault("omni.tenant_id", fields["resource"].pop("omni.tenant_id"))
    fields["resource"].pop("omni.tenant_id", None)
    del fields["resource"]["host.name"]


def _identity(fields: Fields) -> None:
    category = category_of(fields)
    fields["attributes"].setdefault("log.record.uid", "of the envelope")
    fields["attributes"]["omni.category"] = category
    if category != "application":
        fields["event_name"] = f"omni.{category}"


#: Each line of the README's table, as what it does.
COMES_BACK: dict[str, Callable[[Fields], object]] = {
    "time": lambda fields: fields.update(time=fields["time"] // 1000 * 1000),
    "observed time": lambda fields: fields.update(observed="the Collector's"),
    "integers": _integers,
    "bytes": _bytes,
    "sensitive attributes": _redacted,
    "no severity text": _severity_text,
    "body that is no text": _body,
    "no body": _no_body,
    "event name of application records": _event_name,
    "severity of audit and security events": _no_severity,
    "scope and instance of audit and security events": _no_scope,
    "scope version": lambda fields: fields.pop("scope version"),
    "other resource attributes": _no_resource,
    "identity": _identity,
}


def from_kafka(
    tmp_path: Path, kafka: KafkaCluster, prefix: str, receiver: OtlpReceiver, *over: str, **more: str
) -> Collector:
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "ONEX_TOPIC_PREFIX": prefix,
        "ONEX_GROUP_ID": prefix,
        "OTLP_ENDPOINT": receiver.endpoint,
        "ONEX_REJECTED": str(tmp_path / "rejected.jsonl"),
        **more,
    }
    files = [CONFIGURATIONS / f"{name}.yaml" for name in ("from-kafka", *over)]
    return Collector(tmp_path / "collector", files, variables, CONSUMING)


def test_what_comes_back_is_what_was_emitted(kafka: KafkaCluster, prefix: str, tmp_path: Path) -> None:
    """Field by field, but for the lines of the README's table, each of which is true of some record."""
    assert table("From Kafka") == list(COMES_BACK)
    # A resource attribute that tells which one it is, because some have nothing else that does.
    records = [
        log_record({**(record.log_record.attributes or {}), "at": f"{at}"}, **fields_given(record))
        for at, record in enumerate(CORPUS)
    ]
    expected, changes = [], dict.fromkeys(COMES_BACK, 0)
    for record in records:
        fields = emitted(record)
        for name, change in COMES_BACK.items():
            before = copy.deepcopy(fields)
            change(fields)
            changes[name] += fields != before
        expected.append(fields)
    assert all(changes.values()), changes
    with OtlpReceiver() as receiver, from_kafka(tmp_path, kafka, prefix, receiver):
        export(kafka, prefix, records)
        until(lambda: len(receiver.received()) >= len(records), 30)
        found = {fields["attributes"]["at"]: fields for fields in map(fields_of, receiver.received())}
    assert len(found) == len(records)
    for at, fields in enumerate(expected):
        got = found[str(at)]
        assert got["observed"] > TIME
        got["observed"] = "the Collector's"
        if fields["attributes"]["log.record.uid"] == "of the envelope":
            assert uuid.UUID(got["attributes"]["log.record.uid"]).version == 7
            got["attributes"]["log.record.uid"] = "of the envelope"
        assert got == fields


def test_one_bad_message_stops_nothing(kafka: KafkaCluster, prefix: str, tmp_path: Path) -> None:
    """What is no envelope is written to a file with its place, and what is behind it arrives."""
    bad = [b"", b"\xff\xfe", b"{", b"[]", b"null", b'"x"', b"{}", b'{"event_type":"x.logging.audit.v1","payload":7}']
    bad += [b'{"event_type":"x.logging.audit.v1","payload":{"context":[]}}', b"x" * 900_000]
    topic = f"{prefix}omninode.logging.application.v1"
    with OtlpReceiver() as receiver, from_kafka(tmp_path, kafka, prefix, receiver) as collector:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        for value in bad:
            producer.produce(topic, value, partition=0)
            producer.flush(10)
        export(kafka, prefix, [log_record(body="json")])
        export(kafka, prefix, [log_record(body="protobuf")], encoding="protobuf")
        for partition in range(3):
            producer.produce(topic, _envelope(f"behind {partition}"), partition=partition)
        producer.flush(10)
        wanted = {"json", "behind 0", "behind 1", "behind 2"}
        until(lambda: wanted <= {fields_of(found)["body"] for found in receiver.received()}, 30)
        rejected = tmp_path / "rejected.jsonl"
        until(lambda: rejected.exists() and rejected.read_text().count("onex.rejected") >= len(bad) + 1, 15)
        collector.check()
    assert {fields_of(found)["body"] for found in receiver.received()} == wanted
    assert f'"{topic}"' in rejected.read_text()


def _envelope(message: str) -> bytes:
    """The JSON of an application record."""
    payload = {"service_name": "a", "instance_id": "", "level": "INFO", "logger": "", "message": message, "code": "C"}
    document = {
        "event_type": "omninode.logging.application.v1",
        "event_id": str(uuid.uuid4()),
        "timestamp": "2026-11-24T09:12:44.123456Z",
        **dict.fromkeys(("tenant_id", "namespace", "source", "correlation_id", "causation_id", "schema_ref"), "x"),
        "payload": {**payload, "context": {}},
    }
    return json.dumps(document).encode()


def test_a_killed_collector_leaves_nothing_out(kafka: KafkaCluster, prefix: str, tmp_path: Path) -> None:
    """Killed in mid-stream, with the backend away for a while, it goes on where it was: each record arrives."""
    with OtlpReceiver() as receiver, from_kafka(tmp_path, kafka, prefix, receiver) as collector:
        export(kafka, prefix, [log_record(body=f"{n}") for n in range(300)])
        until(lambda: len(receiver.received()) > 50, 30)
        receiver.status = 503
        export(kafka, prefix, [log_record(body=f"{n}") for n in range(300, 600)])
        collector.kill()
        receiver.status = 200
        collector.start()
        until(lambda: len({found.record.body.string_value for found in receiver.received()}) == 600, 60)


def test_the_bridge_sends_some_of_it_elsewhere_too(kafka: KafkaCluster, prefix: str, tmp_path: Path) -> None:
    """All goes to the backend, without bearer tokens; audit events to the file, denials to the second backend."""
    denied = {**SECURITY, "omni.security.decision": "deny"}
    records = [
        log_record(body="Authorization: Bearer abc.def-123 sent", attributes={"h": "bearer xyz", "n": 1}),
        log_record(AUDIT, event_name="omni.audit", body="audited"),
        log_record({**SECURITY, "omni.security.decision": "allow"}, event_name="omni.security", body="allowed"),
        log_record(denied, event_name="omni.security", body="denied"),
    ]
    archive = tmp_path / "audit.jsonl"
    with (
        OtlpReceiver() as receiver,
        OtlpReceiver() as second,
        from_kafka(
            *(tmp_path, kafka, prefix, receiver, "bridge"),
            SECURITY_OTLP_ENDPOINT=second.endpoint,
            ONEX_AUDIT_FILE=str(archive),
        ),
    ):
        export(kafka, prefix, records)
        until(lambda: len(receiver.received()) == 4 and second.received(), 30)
        until(lambda: archive.exists() and "audited" in archive.read_text(), 15)
    found = {fields["body"]: fields for fields in map(fields_of, receiver.received())}
    assert found.keys() == {"Authorization: [REDACTED] sent", "audited", "allowed", "denied"}
    assert found["Authorization: [REDACTED] sent"]["attributes"]["h"] == "[REDACTED]"
    assert [fields_of(each)["body"] for each in second.received()] == ["denied"]
    assert archive.read_text().count("log.record.uid") == 1


def test_the_tail_shows_one_tenant(kafka: KafkaCluster, prefix: str, tmp_path: Path) -> None:
    """What that tenant does from now on is printed, and nothing of another one."""
    with (
        OtlpReceiver() as receiver,
        from_kafka(tmp_path, kafka, prefix, receiver, "tail-tenant", TENANT="acme") as tail,
    ):
        export(kafka, prefix, [log_record({"omni.tenant_id": "other"}, body="of another"), log_record(body="of acme")])
        until(lambda: "of acme" in tail.log_tail(500), 20)
        assert "of another" not in tail.log_tail(500)
