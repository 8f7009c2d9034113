"""What the Collector is given and gives: its configurations, a corpus of log records, and their fields."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_kafka_exporter import KafkaLogExporter
from tests.records import AUDIT, SECURITY, SPAN_ID, TRACE_ID, hand_made
from tests.rig.kafka import KafkaCluster
from tests.rig.otlp import Received
from tests.rig.process import HeldPort
from tests.waiting import until

CONFIGURATIONS = Path(__file__).parents[2] / "collector-config"
README = (CONFIGURATIONS / "README.md").read_text(encoding="utf-8")
CATEGORIES = ("application", "audit", "security")
CONSUMING = "new group session begun"
RESOURCE = Resource(
    {"service.name": "shop", "service.instance.id": "shop-1", "host.name": "h", "omni.tenant_id": "acme"}
)
SCOPE = InstrumentationScope("shop.orders", "1.2")
Fields = dict[str, Any]


def log_record(attributes: dict[str, Any] | None = None, **fields: Any) -> ReadableLogRecord:
    given: dict[str, Any] = {"severity_number": SeverityNumber.INFO, "severity_text": "INFO", "body": "placed"}
    made: ReadableLogRecord = hand_made(attributes or {}, resource=RESOURCE, scope=SCOPE, **{**given, **fields})
    return made


#: What a service may log: one record for each thing that could go wrong.
CORPUS = [
    log_record(),
    log_record(
        {"text": "é <&> \U0001f600", "empty": "", "f": 1.5, "yes": True, "list": ["a", "b"], "map": {"a": {"b": "c"}}}
    ),
    log_record({"n": 7, "deep": {"n": [1, 2]}, "http.response.status_code": 503}),
    log_record({"raw": b"\x00\xff", "password": "hunter2", "a": {"token": "hunter2"}}),
    log_record(trace_id=TRACE_ID, span_id=SPAN_ID, trace_flags=1),
    log_record(severity_number=SeverityNumber.FATAL, severity_text="CRITICAL"),
    log_record(severity_number=SeverityNumber.DEBUG2, severity_text=None),
    log_record(severity_number=SeverityNumber.WARN, severity_text=None),
    log_record(severity_number=SeverityNumber.TRACE, severity_text="TRACE"),
    log_record(body={"b": True, "a": ["x"]}),
    log_record(body=None),
    log_record(event_name="order.placed", body="an event"),
    log_record({"omni.code": "STOCK_LOW", "omni.correlation_id": "order-17", "omni.causation_id": "basket-3"}),
    log_record({"omni.code": "OTHER"}, event_name="order.placed"),
    log_record({"log.record.uid": "01890a5d-ac96-774b-bcce-b302099a8057", "omni.tenant_id": "other"}),
    log_record({**AUDIT, "ip": "10.0.0.1"}, event_name="omni.audit", body=None),
    log_record(AUDIT, event_name="omni.audit", body="as asked", trace_id=TRACE_ID, span_id=SPAN_ID),
    log_record(SECURITY, event_name="omni.security", body=None),
    log_record({**AUDIT, "omni.category": "audit"}, body="by logging alone"),
]


def fields_given(record: ReadableLogRecord) -> dict[str, Any]:
    log = record.log_record
    return {
        name: getattr(log, name)
        for name in ("severity_number", "severity_text", "body", "event_name", "trace_id", "span_id", "trace_flags")
    }


def create_topics(kafka: KafkaCluster, prefix: str) -> None:
    names = (*(f"{category}.v1" for category in CATEGORIES), "rejected")
    kafka.create_topics(*(f"{prefix}omninode.logging.{name}" for name in names))


def table(heading: str) -> list[str]:
    """The first column of the README's table behind a heading."""
    part = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [row.strip() for row in re.findall(r"^\|([^|]+)\|", part, re.MULTILINE)[2:]]


def value_of(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "kvlist_value":
        return {each.key: value_of(each.value) for each in value.kvlist_value.values}
    if kind == "array_value":
        return [value_of(each) for each in value.array_value.values]
    if kind == "int_value":
        return ("integer", value.int_value)  # 7 and 7.0 are equal
    return None if kind is None else getattr(value, kind)


def fields_of(found: Received) -> Fields:
    """All that there is of a log record, as plain values."""
    record = found.record
    return {
        "time": record.time_unix_nano,
        "observed": record.observed_time_unix_nano,
        "severity": (record.severity_number, record.severity_text),
        "body": value_of(record.body),
        "attributes": {each.key: value_of(each.value) for each in record.attributes},
        "ids": (record.trace_id, record.span_id, record.flags),
        "event_name": record.event_name,
        "scope": found.scope,
        "resource": found.resource,
    }


def emitted(record: ReadableLogRecord) -> Fields:
    """The same of what OpenTelemetry's own OTLP exporter would send of a record."""
    logs = encode_logs([record]).resource_logs[0]
    scope = logs.scope_logs[0]
    resource = {each.key: each.value.string_value for each in logs.resource.attributes}
    found = Received(scope.log_records[0], resource, scope.scope.name)
    return {**fields_of(found), "scope version": scope.scope.version}


def category_of(fields: Fields) -> str:
    named = fields["event_name"].removeprefix("omni.")
    return str(fields["attributes"].get("omni.category") or (named if named in CATEGORIES else "application"))


def export(kafka: KafkaCluster, prefix: str, records: list[ReadableLogRecord], **settings: Any) -> None:
    exporter = KafkaLogExporter(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, **settings)
    exporter.export(records)
    until(lambda: exporter.stats().delivered == len(records))
    exporter.shutdown()


def send(port: HeldPort, records: list[ReadableLogRecord]) -> int:
    """Send records as an OTLP exporter does, with the headers that name the sender; the answer's status."""
    headers = {"x-onex-service": "shop", "x-onex-tenant": "acme", "x-tenant": "acme"}
    headers["Content-Type"] = "application/x-protobuf"
    request = Request(f"http://{port.address}/v1/logs", encode_logs(records).SerializeToString(), headers)
    try:
        with urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code
