"""The configurations of collector-config/ on a real Collector, between a real Kafka and an OTLP receiver."""

from __future__ import annotations

import base64
import copy
import json
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import orjson
import pytest
import trustme
from confluent_kafka import Producer
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_kafka_exporter import KafkaLogExporter
from tests.records import AUDIT, SECURITY, SPAN_ID, TIME, TRACE_ID, as_bytes, hand_made
from tests.rig import otelcol
from tests.rig.kafka import KafkaCluster
from tests.rig.otelcol import Collector
from tests.rig.otlp import OtlpReceiver, Received
from tests.rig.process import HeldPort
from tests.waiting import until
from tests.ways_in.running import read

from .conftest import lacking

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

CONFIGURATIONS = Path(__file__).parents[2] / "collector-config"
README = (CONFIGURATIONS / "README.md").read_text(encoding="utf-8")
CATEGORIES = ("application", "audit", "security")
CONSUMING = "new group session begun"
RESOURCE = Resource(
    {"service.name": "shop", "service.instance.id": "shop-1", "host.name": "h", "omni.tenant_id": "acme"}
)
SCOPE = InstrumentationScope("shop.orders", "1.2")

Fields = dict[str, Any]


def _record(attributes: dict[str, Any] | None = None, **fields: Any) -> ReadableLogRecord:
    given: dict[str, Any] = {"severity_number": SeverityNumber.INFO, "severity_text": "INFO", "body": "placed"}
    made: ReadableLogRecord = hand_made(attributes or {}, resource=RESOURCE, scope=SCOPE, **{**given, **fields})
    return made


#: What a service may log: one record for each thing that could go wrong.
CORPUS = [
    _record(),
    _record(
        {"text": "é <&> \U0001f600", "empty": "", "f": 1.5, "yes": True, "list": ["a", "b"], "map": {"a": {"b": "c"}}}
    ),
    _record({"n": 7, "deep": {"n": [1, 2]}, "http.response.status_code": 503}),
    _record({"raw": b"\x00\xff", "password": "hunter2", "a": {"token": "hunter2"}}),
    _record(trace_id=TRACE_ID, span_id=SPAN_ID, trace_flags=1),
    _record(severity_number=SeverityNumber.FATAL, severity_text="CRITICAL"),
    _record(severity_number=SeverityNumber.DEBUG2, severity_text=None),
    _record(severity_number=SeverityNumber.WARN, severity_text=None),
    _record(severity_number=SeverityNumber.TRACE, severity_text="TRACE"),
    _record(body={"b": True, "a": ["x"]}),
    _record(body=None),
    _record(event_name="order.placed", body="an event"),
    _record({"omni.code": "STOCK_LOW", "omni.correlation_id": "order-17", "omni.causation_id": "basket-3"}),
    _record({"omni.code": "OTHER"}, event_name="order.placed"),
    _record({"log.record.uid": "01890a5d-ac96-774b-bcce-b302099a8057", "omni.tenant_id": "other"}),
    _record({**AUDIT, "ip": "10.0.0.1"}, event_name="omni.audit", body=None),
    _record(AUDIT, event_name="omni.audit", body="as asked", trace_id=TRACE_ID, span_id=SPAN_ID),
    _record(SECURITY, event_name="omni.security", body=None),
    _record({**AUDIT, "omni.category": "audit"}, body="by logging alone"),
]


@pytest.fixture(scope="session", autouse=True)
def _collector() -> None:
    if lacks := otelcol.missing():
        lacking(f"a real Collector cannot run here. {' '.join(lacks)}")
    otelcol.binary()


@pytest.fixture
def prefix(kafka: KafkaCluster) -> str:
    chosen = f"t{uuid.uuid4().hex[:12]}."
    create_topics(kafka, chosen)
    return chosen


def create_topics(kafka: KafkaCluster, prefix: str) -> None:
    names = (*(f"{category}.v1" for category in CATEGORIES), "rejected")
    kafka.create_topics(*(f"{prefix}omninode.logging.{name}" for name in names))


#: The configurations as they are laid over each other.
LAID = [
    *(["from-kafka", *over] for over in ([], ["secure-from-kafka"], ["bridge"], ["tail-tenant"])),
    *(["to-kafka", *over] for over in ([], ["secure-to-kafka"])),
]


@pytest.mark.parametrize("files", LAID, ids="+".join)
def test_every_configuration_is_valid(files: list[str]) -> None:
    """The Collector's own check finds nothing wrong, and does find what is."""
    paths = [CONFIGURATIONS / f"{name}.yaml" for name in files]
    assert otelcol.validate(paths, {"KAFKA_USERNAME": "shop", "KAFKA_PASSWORD": "x", "KAFKA_CA_FILE": "ca.pem"}) == ""


def test_no_configuration_is_left_out() -> None:
    """Each file of the folder is in the README, and in the check above."""
    names = {path.name for path in CONFIGURATIONS.glob("*.yaml")}
    assert names == {
        *("from-kafka.yaml", "bridge.yaml", "tail-tenant.yaml", "secure-from-kafka.yaml"),
        *("to-kafka.yaml", "secure-to-kafka.yaml"),
    }
    assert all(f"[{name}]({name})" in README for name in names)


@pytest.mark.parametrize("path", sorted(CONFIGURATIONS.iterdir()), ids=lambda path: path.name)
def test_every_command_shown_is_one_that_is_tested(path: Path) -> None:
    """Whichever files a command of the README or of a comment starts a Collector with, are tried together here."""
    for command in re.findall(r"otelcol-contrib ([^\n]*--config [^\n]*)", path.read_text(encoding="utf-8")):
        files = [Path(name).stem for name in re.findall(r"--config (\S+)", command)]
        assert files in LAID, command


def table(heading: str) -> list[str]:
    """The first column of the README's table behind a heading."""
    part = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [row.strip() for row in re.findall(r"^\|([^|]+)\|", part, re.MULTILINE)[2:]]


# From Kafka


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


def export(kafka: KafkaCluster, prefix: str, records: list[ReadableLogRecord], **settings: Any) -> None:
    exporter = KafkaLogExporter(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, **settings)
    exporter.export(records)
    until(lambda: exporter.stats().delivered == len(records))
    exporter.shutdown()


def test_what_comes_back_is_what_was_emitted(kafka: KafkaCluster, prefix: str, tmp_path: Path) -> None:
    """Field by field, but for the lines of the README's table, each of which is true of some record."""
    assert table("From Kafka") == list(COMES_BACK)
    # A resource attribute that tells which one it is, because some have nothing else that does.
    records = [
        _record({**(record.log_record.attributes or {}), "at": f"{at}"}, **_given(record))
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


def _given(record: ReadableLogRecord) -> dict[str, Any]:
    log = record.log_record
    return {
        name: getattr(log, name)
        for name in ("severity_number", "severity_text", "body", "event_name", "trace_id", "span_id", "trace_flags")
    }


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
        export(kafka, prefix, [_record(body="json")])
        export(kafka, prefix, [_record(body="protobuf")], encoding="protobuf")
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
        export(kafka, prefix, [_record(body=f"{n}") for n in range(300)])
        until(lambda: len(receiver.received()) > 50, 30)
        receiver.status = 503
        export(kafka, prefix, [_record(body=f"{n}") for n in range(300, 600)])
        collector.kill()
        receiver.status = 200
        collector.start()
        until(lambda: len({found.record.body.string_value for found in receiver.received()}) == 600, 60)


def test_the_bridge_sends_some_of_it_elsewhere_too(kafka: KafkaCluster, prefix: str, tmp_path: Path) -> None:
    """All goes to the backend, without bearer tokens; audit events to the file, denials to the second backend."""
    denied = {**SECURITY, "omni.security.decision": "deny"}
    records = [
        _record(body="Authorization: Bearer abc.def-123 sent", attributes={"h": "bearer xyz", "n": 1}),
        _record(AUDIT, event_name="omni.audit", body="audited"),
        _record({**SECURITY, "omni.security.decision": "allow"}, event_name="omni.security", body="allowed"),
        _record(denied, event_name="omni.security", body="denied"),
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
        export(kafka, prefix, [_record({"omni.tenant_id": "other"}, body="of another"), _record(body="of acme")])
        until(lambda: "of acme" in tail.log_tail(500), 20)
        assert "of another" not in tail.log_tail(500)


@pytest.fixture
def secure_kafka(tmp_path: Path) -> Iterator[tuple[KafkaCluster, Path, dict[str, str]]]:
    """A broker that asks for TLS and a password; its authority's certificate, and what librdkafka needs."""
    authority = trustme.CA()
    ca_file, server = tmp_path / "ca.pem", tmp_path / "server.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    issued = authority.issue_cert("127.0.0.1")
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # Java reads no other
    server.write_bytes(pem + b"".join(each.bytes() for each in issued.cert_chain_pems))
    jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    config = {
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:SASL_SSL",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.plaintext.plain.sasl.jaas.config": f'{jaas} username="u" password="p" user_u="p";',
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(server),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(ca_file),
    }
    client = {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(ca_file),
        "sasl.mechanism": "PLAIN",
        "sasl.username": "u",
        "sasl.password": "p",
    }
    with KafkaCluster(tmp_path / "kafka", config=config, credentials=client) as cluster:
        yield cluster, ca_file, client


def test_the_secure_variants_reach_a_secured_kafka(
    secure_kafka: tuple[KafkaCluster, Path, dict[str, str]], port: HeldPort, tmp_path: Path
) -> None:
    """By TLS and a password, in both directions; the password is in no line of the Collector's."""
    kafka, ca_file, client = secure_kafka
    create_topics(kafka, "")
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_USERNAME": "u",
        "KAFKA_PASSWORD": "p",
        "KAFKA_CA_FILE": str(ca_file),
        "OTLP_HOST": "127.0.0.1",
        "OTLP_GRPC_PORT": "0",
        "OTLP_HTTP_PORT": port.address.split(":")[1],
    }
    files = [CONFIGURATIONS / f"{name}.yaml" for name in ("to-kafka", "secure-to-kafka")]
    with Collector(tmp_path / "to", files, variables):
        assert send(port, [_record(body="by the Collector")]) == 200
    export(kafka, "", [_record(body="by the exporter")], producer_config=client)
    with OtlpReceiver() as receiver:
        files = [CONFIGURATIONS / f"{name}.yaml" for name in ("from-kafka", "secure-from-kafka")]
        variables |= {"OTLP_ENDPOINT": receiver.endpoint, "ONEX_REJECTED": str(tmp_path / "rejected.jsonl")}
        with Collector(tmp_path / "from", files, variables, CONSUMING):
            until(lambda: len(receiver.received()) == 2, 30)
        assert {fields_of(each)["body"] for each in receiver.received()} == {"by the Collector", "by the exporter"}


# To Kafka


def to_kafka(tmp_path: Path, kafka: KafkaCluster, prefix: str, port: HeldPort) -> Collector:
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "ONEX_TOPIC_PREFIX": prefix,
        "OTLP_HOST": "127.0.0.1",
        "OTLP_HTTP_PORT": port.address.split(":")[1],
        "OTLP_GRPC_PORT": "0",
    }
    return Collector(tmp_path / "collector", [CONFIGURATIONS / "to-kafka.yaml"], variables)


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


@pytest.fixture
def port() -> Iterator[HeldPort]:
    held = HeldPort()
    yield held
    held.close()


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
        _record({**(record.log_record.attributes or {}), "at": f"{at}"}, **_given(record))
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
        _record({"omni.category": "billing"}, body="one"),
        _record({**AUDIT, "omni.audit.outcome": "maybe"}, event_name="omni.audit", body="two"),
        _record({"omni.category": "security"}, body="three"),
        _record({"f": float("nan"), "g": float("inf")}, body="four"),
        _record(body="five"),
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
        assert send(port, [_record()]) in (429, 500, 502, 503, 504)
