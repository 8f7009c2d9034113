"""A real Collector reaches a Kafka that asks for TLS and a password, in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tests.rig.kafka import KafkaCluster
from tests.rig.otelcol import Collector
from tests.rig.otlp import OtlpReceiver
from tests.rig.process import HeldPort
from tests.waiting import until

from .collectors import CONFIGURATIONS, CONSUMING, create_topics, export, fields_of, log_record, send

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), pytest.mark.usefixtures("collector_binary")]


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
        assert send(port, [log_record(body="by the Collector")]) == 200
    export(kafka, "", [log_record(body="by the exporter")], producer_config=client)
    with OtlpReceiver() as receiver:
        files = [CONFIGURATIONS / f"{name}.yaml" for name in ("from-kafka", "secure-from-kafka")]
        variables |= {"OTLP_ENDPOINT": receiver.endpoint, "ONEX_REJECTED": str(tmp_path / "rejected.jsonl")}
        with Collector(tmp_path / "from", files, variables, CONSUMING):
            until(lambda: len(receiver.received()) == 2, 30)
        assert {fields_of(each)["body"] for each in receiver.received()} == {"by the Collector", "by the exporter"}
