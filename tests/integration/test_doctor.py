"""`otel-kafka doctor` before real brokers in each state that it knows: the one cause is named."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest
import trustme
from confluent_kafka import Producer

from otel_kafka_exporter.cli.admin import Admin, RefusedError
from tests.doctoring import Examined, examine
from tests.functional.tails import tail
from tests.matrix.forwarder import Forwarder
from tests.rig.kafka import KafkaCluster
from tests.rig.process import HeldPort
from tests.rig.registry import SchemaRegistryServer
from tests.rig.security import SCRAM, login, secure_cluster
from tests.tailing import TOPICS
from tests.tls_front import client_files, pem
from tests.waiting import until

from .conftest import LONG, SCRAM_PASSWORD, USERS, require_kafka

pytestmark = pytest.mark.integration


def as_user(user: str, password: str = "", mechanism: str = "PLAIN") -> str:
    return login(user, password or USERS[user], mechanism)


class Prefixed:
    """Topics of one test in a broker that all share."""

    def __init__(self, kafka: KafkaCluster) -> None:
        self.kafka = kafka
        self.prefix = f"t{uuid.uuid4().hex[:12]}."

    def create(self, config: dict[str, str] | None = None) -> None:
        self.kafka.create_topics(*self.names, config={**LONG, **(config or {})})

    @property
    def names(self) -> list[str]:
        return [self.prefix + topic for topic in TOPICS.values()]

    def examine(self, *arguments: str, **variables: str) -> Examined:
        return examine(
            self.kafka.bootstrap_servers, *arguments, OTEL_EXPORTER_KAFKA_TOPIC_PREFIX=self.prefix, **variables
        )


@pytest.fixture
def topics(kafka: KafkaCluster) -> Prefixed:
    return Prefixed(kafka)


def test_a_broker_on_which_all_is_well(topics: Prefixed) -> None:
    """Every check of the cluster, its topics and our rights says OK, and a record arrives."""
    topics.create()
    found = topics.examine("--write")
    assert (found.code, found.ids("warn", "fail")) == (0, []), found.document
    expected = {f"topics.{each}" for each in ("exist", "replicas", "size", "cleanup", "retention", "timestamps")}
    assert expected | {"cluster.controller", "rights.topics", "rights.cluster", "write.record"} <= set(found.ids("ok"))
    operations = found.check("rights.topics")["details"]["operations"]
    assert "WRITE" in operations[topics.names[0]]


def test_topics_that_are_not_there(topics: Prefixed) -> None:
    """They are the one cause; they are not made by being asked for."""
    topics.examine().one_cause("topics.exist", *topics.names, "no such topic")
    assert not set(topics.names) & set(topics.kafka.admin_client().list_topics(timeout=5).topics)


@pytest.mark.parametrize(
    ("config", "check", "status", "words"),
    [
        ({"max.message.bytes": "60000"}, "topics.size", "fail", "max.message.bytes=60000"),
        ({"cleanup.policy": "compact"}, "topics.cleanup", "fail", "cleanup.policy=compact"),
        ({"min.insync.replicas": "2"}, "topics.replicas", "fail", "1 replicas in sync of min.insync.replicas=2"),
        ({"retention.ms": "3600000"}, "topics.retention", "warn", "keeps 0.0417 days, 7 are recommended"),
        ({"retention.bytes": "1000"}, "topics.retention", "warn", "retention.bytes=1000"),
        (
            {"message.timestamp.before.max.ms": "60000"},
            "topics.timestamps",
            "warn",
            "message.timestamp.before.max.ms=60000",
        ),
    ],
)
def test_topics_that_are_made_otherwise(
    topics: Prefixed, config: dict[str, str], check: str, status: str, words: str
) -> None:
    """A topic that refuses, loses or forgets records is said, and which of its properties does that."""
    topics.create(config)
    found = topics.examine()
    if status == "fail":
        found.one_cause(check, words)
    assert (found.ids("warn", "fail"), words in found.check(check)["text"]) == ([check], True)


def test_a_record_in_a_topic_that_sets_its_times(topics: Prefixed) -> None:
    """Where the broker puts its own time on records, one that is written arrives, and is no fault of a clock."""
    topics.create({"message.timestamp.type": "LogAppendTime"})
    found = topics.examine("--write")
    assert (found.code, found.ids("fail")) == (0, []), found.document
    assert found.ids("warn") == [], found.document
    assert "write.record" in found.ids("ok")


def test_a_record_that_may_not_be_written_is_not_tried(topics: Prefixed) -> None:
    """Where replicas are missing, --write does not wait for what cannot come."""
    topics.create({"min.insync.replicas": "2"})
    assert topics.examine("--write").check("write.record")["because"] == "topics.replicas"


def test_a_clock_that_is_behind(topics: Prefixed) -> None:
    """A record from the future shows that this clock, or its writer's, is wrong."""
    topics.create()
    producer = Producer({"bootstrap.servers": topics.kafka.bootstrap_servers})
    producer.produce(topics.names[1], b"{}", timestamp=int((time.time() + 1800) * 1000))
    assert producer.flush(10) == 0
    found = topics.examine("--only", "clock")
    assert found.ids("warn") == ["clock.offset"]
    assert "behind the newest record" in found.check("clock.offset")["text"]


def test_a_login_that_nobody_asks_for(topics: Prefixed) -> None:
    """SASL to a listener without it."""
    properties = "security.protocol=SASL_PLAINTEXT,sasl.mechanism=PLAIN,sasl.username=u,sasl.password=p-secret"
    found = examine(topics.kafka.bootstrap_servers, properties=properties)
    found.one_cause("sasl.mechanism", "a listener without SASL", "security.protocol=PLAINTEXT")


def test_tls_that_nobody_speaks(topics: Prefixed) -> None:
    """TLS to a listener without it, which says nothing to that."""
    found = examine(topics.kafka.bootstrap_servers, properties="security.protocol=SSL")
    found.one_cause("network.protocol", "expected TLS, got Kafka in plain text")


def test_topics_that_will_be_made(tmp_path: Path) -> None:
    """Where the cluster makes topics, missing ones are a warning, and are still not made by being asked for."""
    require_kafka()
    with KafkaCluster(tmp_path / "kafka", config={"auto.create.topics.enable": "true"}) as cluster:
        found = examine(cluster.bootstrap_servers)
        assert (found.code, found.status("topics.exist")) == (0, "warn")
        assert set(cluster.admin_client().list_topics(timeout=5).topics) <= {"__consumer_offsets"}


@pytest.mark.parametrize("advertised", ["kafka-1.invalid:9092", "127.0.0.1:9"])
def test_an_advertised_address_that_cannot_be_reached(tmp_path: Path, advertised: str) -> None:
    """The bootstrap address answers, and sends clients where they cannot go: that address is named."""
    require_kafka()
    cluster = KafkaCluster(tmp_path / "kafka")
    cluster.nodes[0].advertised = advertised
    with cluster:
        examine(cluster.bootstrap_servers).one_cause(
            "cluster.listeners", f"broker 1 says {advertised}", "advertised.listeners"
        )


def test_addresses_that_were_given_before_the_question_are_known(tmp_path: Path) -> None:
    """Where an answer to the client itself comes before ours, a question goes astray, and it is said where to."""
    require_kafka()
    cluster = KafkaCluster(tmp_path / "kafka")
    cluster.nodes[0].advertised = "kafka-1.invalid:9092"
    with cluster:
        bootstrap = Forwarder(cluster.bootstrap_servers)
        try:
            admin = Admin(bootstrap.address, {}, 3.0)
            with pytest.raises(RefusedError) as refused:  # noqa: PT012 - which address is asked is librdkafka's choice
                admin.metadata()
                until(lambda: (admin.client.poll(0.05), admin._advertised())[1])
                bootstrap.refuse()  # and now it has only one
                admin.metadata()
        finally:
            bootstrap.close()
    assert refused.value.advertised == {1: "kafka-1.invalid:9092"}


@pytest.mark.parametrize(("mechanism", "password"), [("PLAIN", USERS["writer"]), (SCRAM, SCRAM_PASSWORD)])
def test_the_right_to_write_is_enough(secure: KafkaCluster, trusted: str, mechanism: str, password: str) -> None:
    """With TLS, a login and WRITE all is well; what may not be read is skipped, and says which right it takes."""
    found = examine(secure.bootstrap_servers, "--write", properties=f"{trusted},{login('writer', password, mechanism)}")
    assert (found.code, found.ids("warn", "fail")) == (0, []), found.document
    names = ["tls.chain", "tls.expiry", "tls.hostname", "tls.client", "sasl.mechanism", "cluster.answer"]
    assert {*names, "rights.topics", "rights.cluster", "write.record"} <= set(found.ids("ok"))
    assert "DESCRIBE_CONFIGS" in found.check("topics.size")["text"]
    assert found.check("topics.size")["because"] is None


@pytest.mark.parametrize(
    ("properties", "cause", "words"),
    [
        (as_user("writer", "wrong-secret"), "cluster.answer", ["the login of writer is refused", "sasl.password"]),
        (
            as_user("writer", "wrong-secret", SCRAM),
            "cluster.answer",
            ["the login of writer is refused", "sasl.password"],
        ),
        (as_user("stranger", "wrong-secret", SCRAM), "cluster.answer", ["the login of stranger is refused"]),
        (as_user("stranger", "wrong-secret"), "cluster.answer", ["the login of stranger is refused"]),
        (
            as_user("writer", mechanism="SCRAM-SHA-512"),
            "sasl.mechanism",
            ["it has no SCRAM-SHA-512; it has", "PLAIN", SCRAM],
        ),
        (
            "security.protocol=SSL",
            "sasl.mechanism",
            [f"(PLAIN, {SCRAM})", "security.protocol=SASL_SSL"],
        ),
        ("security.protocol=PLAINTEXT", "network.protocol", ["got TLS"]),
        ("", "network.protocol", ["got TLS"]),
        (as_user("nobody"), "topics.exist", ["may not see it", "--allow-principal User:nobody"]),
        (as_user("reader"), "rights.topics", ["no WRITE on", TOPICS["audit"]]),
        (as_user("half"), "rights.topics", [f"no WRITE on {TOPICS['audit']}, {TOPICS['security']}"]),
    ],
)
def test_who_is_not_let_in(secure: KafkaCluster, trusted: str, properties: str, cause: str, words: list[str]) -> None:
    """Passwords, mechanisms, protocols and rights that are wrong are told apart, and nothing tells a password."""
    found = examine(secure.bootstrap_servers, "--write", properties=f"{trusted},{properties}")
    found.one_cause(cause, *words)
    assert "-secret" not in str(found.document) + found.errors


def test_a_real_broker_with_a_ca_that_is_not_trusted(secure: KafkaCluster, tmp_path: Path) -> None:
    """Another CA, and the system's ones, do not trust it."""
    other = pem(trustme.CA(), tmp_path / "other.pem")
    for location in (f"ssl.ca.location={other},", ""):
        found = examine(secure.bootstrap_servers, properties=f"{location}{as_user('writer')}")
        found.one_cause("tls.chain", "not trusted")


def test_a_real_broker_that_wants_a_certificate(ca: trustme.CA, trusted: str, tmp_path: Path) -> None:
    """Without one of ours it refuses, with one of a stranger too; with the right one all is well."""
    require_kafka()
    config = {"listener.name.plaintext.ssl.client.auth": "required"}
    (tmp_path / "ours").mkdir()
    ours = client_files(ca, tmp_path / "ours")
    own = dict(each.split("=", 1) for each in ours.split(","))
    with secure_cluster(tmp_path / "mutual", ca, config=config, client=own) as cluster:
        cluster.create_topics(*TOPICS.values(), config=LONG)
        for stranger in ("", client_files(trustme.CA(), tmp_path)):
            found = examine(cluster.bootstrap_servers, properties=f"security.protocol=SSL,{trusted},{stranger}")
            found.one_cause("tls.client", "certificate", "ssl.key.location")
        found = examine(cluster.bootstrap_servers, properties=f"security.protocol=SSL,{trusted},{ours}")
        assert (found.code, found.ids("warn", "fail")) == (0, []), found.document


def test_the_registry(topics: Prefixed, registry: SchemaRegistryServer) -> None:
    """A registry that is away, one at another path, one without the schema, and one that has it."""
    topics.create()

    def ask(url: str, **variables: str) -> Examined:
        given = {"OTEL_EXPORTER_KAFKA_ENCODING": "protobuf", "OTEL_EXPORTER_KAFKA_SCHEMA_REGISTRY_URL": url}
        return topics.examine("--write", **given, **variables)

    port = HeldPort()
    try:
        ask(f"http://{port.address}").one_cause("registry.answer", "connection refused")
    finally:
        port.close()
    ask(registry.url.removesuffix("/v7") + "/v0").one_cause("registry.answer", "404")
    ask(registry.url).one_cause("registry.schema", f"{topics.names[0]}-value", "otel-kafka schema register")
    found = ask(registry.url, OTEL_EXPORTER_KAFKA_SCHEMA_REGISTRY_AUTO_REGISTER="true")
    assert "registry.schema" in found.ids("warn")
    done = tail(
        command=("schema", "register"),
        OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS=topics.kafka.bootstrap_servers,
        OTEL_EXPORTER_KAFKA_TOPIC_PREFIX=topics.prefix,
        OTEL_EXPORTER_KAFKA_ENCODING="protobuf",
        OTEL_EXPORTER_KAFKA_SCHEMA_REGISTRY_URL=registry.url,
    )
    assert done.code == 0, done.output
    found = ask(registry.url)
    assert (found.code, found.ids("warn", "fail")) == (0, []), found.document
    assert f"{topics.names[0]}-value is " in found.check("registry.schema")["text"]
    assert "this clock is" in found.check("clock.offset")["text"]
