"""`otel-kafka doctor`: what is asked, what it says, and in which form."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from otel_kafka_exporter import KafkaLogExporter, decode
from otel_kafka_exporter.cli.doctor.catalogue import CHECKS
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.doctoring import PROPERTIES, SERVERS, examine
from tests.functional.pipelines import audit_records
from tests.functional.tails import Done, tail
from tests.functional.test_doctor_network import TOPICS
from tests.rig.process import HeldPort

NO_OTHERS = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
CANARY = "canary-3f9a-secret"


@pytest.fixture
def kafka(embedded_kafka: EmbeddedKafka) -> str:
    for topic in TOPICS:
        embedded_kafka.create_topic(topic)
    return embedded_kafka.bootstrap_servers


def doctor(*arguments: str, **variables: str) -> Done:
    return tail(*arguments, command=("doctor",), **variables)


def test_a_healthy_one_has_a_line_for_each_check(kafka: str) -> None:
    """All is asked, in order, nothing fails, and the exit code is 0."""
    done = doctor("-v", **{SERVERS: kafka})
    assert done.code == 0, done.output
    words = [line.split()[:2] for line in done.lines if re.match(r"(OK|WARN|skip) ", line)]
    assert [name for _, name in words] == [check.id for check in CHECKS]
    assert f"OK   network.tcp         connected to {kafka}" in done.lines
    assert done.lines[-1].endswith("with nothing to look at")
    assert (done.errors, b"\x1b" in done.output) == ("", False)


def test_it_changes_nothing(embedded_kafka: EmbeddedKafka) -> None:
    """Topics that are missing are named, and neither made by being asked for nor written to; no outbox is made."""
    found = examine(embedded_kafka.bootstrap_servers)
    found.one_cause("topics.exist", *TOPICS, "no such topic", "otel-kafka topics apply")
    assert examine(embedded_kafka.bootstrap_servers).root_cause == "topics.exist"
    assert not Path(os.environ["OTEL_EXPORTER_KAFKA_OUTBOX_DIR"]).exists()


def test_a_cluster_that_is_far_away(kafka: str, embedded_kafka: EmbeddedKafka) -> None:
    """An answer that takes its time, less than the deadline, is an answer."""
    embedded_kafka.slow(600)
    assert examine(kafka, "--only", "cluster.answer").code == 0


def test_topics_with_another_prefix_are_pointed_at(kafka: str) -> None:
    """Where topics of ours have another prefix, that may be it."""
    found = examine(kafka, OTEL_EXPORTER_KAFKA_TOPIC_PREFIX="dev.")
    found.one_cause("topics.exist", f"dev.{TOPICS[0]}", f"There are {TOPICS[0]}", "topic_prefix")


def test_a_record_is_written_when_that_is_asked_for(kafka: str, embedded_kafka: EmbeddedKafka) -> None:
    """Without --write nothing is written; with it one application record, which says that it is a probe."""
    assert examine(kafka).status("write.record") == "skipped"
    assert all(not embedded_kafka.messages(topic) for topic in TOPICS)
    found = examine(kafka, "--write")
    assert found.status("write.record") == "ok"
    [message] = embedded_kafka.messages(TOPICS[0])
    payload = decode(message.value() or b"").payload
    assert (payload["code"], payload["service_name"]) == ("OTEL_KAFKA_PROBE", "otel-kafka-doctor")
    assert f"{TOPICS[0]}/{message.partition()}/{message.offset()}" in found.check("write.record")["text"]
    assert all(not embedded_kafka.messages(topic) for topic in TOPICS[1:])
    embedded_kafka.fail_next(29)
    examine(kafka, "--write").one_cause("write.record", "authorization failed", "docs/delivery.md")


def test_only_some_and_not_some(kafka: str) -> None:
    """--only takes families and IDs, and asks what they stand on without showing it; --skip leaves out."""
    found = examine(kafka, "--only", "topics.exist,outbox", "--skip", "outbox.aside")
    assert found.ids("ok") == ["topics.exist", "outbox.directory", "outbox.space", "outbox.waiting", "outbox.orphans"]
    assert len(found.document["checks"]) == 5
    # What stands on something that was left out is asked all the same, or says why it cannot be.
    assert examine(kafka, "--skip", "network,topics").status("cluster.answer") == "ok"
    found = examine(kafka, "--only", "topics.replicas", "--skip", "topics.exist")
    assert found.check("topics.replicas")["text"] == "because topics.exist was left out, or found nothing"


def test_what_was_not_asked_for_is_shown_when_it_is_the_cause() -> None:
    """A check that was chosen, and that another one's failure makes impossible, has that one beside it."""
    port = HeldPort()
    try:
        found = examine(port.address, "--only", "topics.exist")
    finally:
        port.close()
    assert [(each["id"], each["because"]) for each in found.document["checks"]] == [
        ("network.tcp", None),
        ("topics.exist", "network.tcp"),
    ]


def test_a_warning_counts_when_it_is_to(kafka: str) -> None:
    """Warnings leave the exit code 0, and make it 1 with --strict."""
    misspelt: dict[str, str] = {"OTEL_EXPORTER_KAFKA_OUTBOX_DIRR": "/tmp/x"}
    arguments = ("--only", "settings")
    found = examine(kafka, *arguments, **misspelt)
    assert (found.code, found.ids("warn")) == (0, ["settings.unknown"])
    assert "Did you mean OTEL_EXPORTER_KAFKA_OUTBOX_DIR?" in found.check("settings.unknown")["text"]
    assert examine(kafka, *arguments, "--strict", **misspelt).code == 1
    assert examine(kafka, *arguments, "--strict").code == 0


def test_where_each_setting_came_from(kafka: str) -> None:
    """The JSON document has each setting's value, and whether an argument, which variable or the default gave it."""
    given = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "OTEL_EXPORTER_KAFKA_TENANT_ID": "acme", SERVERS: ""}
    done = doctor("--json", "--only", "settings.values", **given)
    [check] = json.loads(done.output)["checks"]
    settings = check["details"]["settings"]
    assert settings["bootstrap_servers"] == {"value": kafka, "source": "KAFKA_BOOTSTRAP_SERVERS"}
    assert settings["tenant_id"] == {"value": "acme", "source": "OTEL_EXPORTER_KAFKA_TENANT_ID"}
    assert settings["delivery_wait"] == {"value": 2.0, "source": "default"}
    done = doctor("--only", "settings.values", **given)
    assert f"     bootstrap_servers={kafka} by KAFKA_BOOTSTRAP_SERVERS" in done.lines
    assert "     tenant_id=acme by OTEL_EXPORTER_KAFKA_TENANT_ID" in done.lines
    found = examine("nowhere:1", "--only", "settings.values", "--bootstrap-servers", kafka)
    [check] = found.document["checks"]
    assert check["details"]["settings"]["bootstrap_servers"]["source"] == "bootstrap_servers"


@pytest.mark.parametrize(
    ("variables", "status", "words"),
    [
        ({SERVERS: ""}, "fail", "bootstrap_servers: expected host:port, got nothing"),
        ({"OTEL_EXPORTER_KAFKA_DELIVERY_WAIT": "soon"}, "fail", "OTEL_EXPORTER_KAFKA_DELIVERY_WAIT: expected a number"),
    ],
)
def test_settings_that_are_wrong(variables: dict[str, str], status: str, words: str) -> None:
    """A wrong setting is the one cause, and its variable is named."""
    done = doctor("--json", **{SERVERS: "localhost:9092", "KAFKA_BOOTSTRAP_SERVERS": "", **variables})
    document = json.loads(done.output)
    assert (done.code, document["root_cause"]) == (1, "settings.values")
    assert document["checks"][0]["status"] == status
    assert words in document["checks"][0]["text"]


def test_two_configurations_in_one_environment(kafka: str, tmp_path: Path) -> None:
    """Contradicting variables, and a declarative file beside variables, are warnings that say which one counts."""
    found = examine(kafka, KAFKA_BOOTSTRAP_SERVERS="elsewhere:9092")
    assert f"{SERVERS} takes precedence over KAFKA_BOOTSTRAP_SERVERS" in found.check("settings.several")["text"]
    file = tmp_path / "otel.yaml"
    file.write_text("logger_provider:\n  processors: [batch: {exporter: {console: }}]\n")
    found = examine(kafka, OTEL_CONFIG_FILE=str(file), OTEL_LOGS_EXPORTER="onex_kafka")
    assert {"settings.several", "otel.exporter"} <= set(found.ids("warn"))
    assert "does not name onex_kafka" in found.check("otel.exporter")["text"]
    file.write_text("logger_provider:\n  processors: [batch: {exporter: {onex_kafka: }}]\n")
    found = examine(kafka, OTEL_CONFIG_FILE=str(file), OTEL_LOGS_EXPORTER="onex_kafka")
    assert "OTEL_CONFIG_FILE hides OTEL_LOGS_EXPORTER" in found.check("otel.exporter")["text"]
    assert examine(kafka, OTEL_CONFIG_FILE=str(tmp_path / "no.yaml")).status("otel.exporter") == "fail"


def test_opentelemetrys_own_settings(kafka: str) -> None:
    """A disabled SDK fails; another exporter, no handler and a reloader are warnings."""
    assert examine(kafka, OTEL_SDK_DISABLED="true").root_cause == "otel.disabled"
    found = examine(
        kafka,
        OTEL_LOGS_EXPORTER="console",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="requests, logging",
        FLASK_DEBUG="1",
    )
    assert {"otel.exporter", "otel.logging", "process.forks"} <= set(found.ids("warn"))
    # The distribution's default of traces and metrics is an exporter that is not installed here.
    examine(kafka, OTEL_LOGS_EXPORTER="onex_kafka").one_cause("otel.signals", "OTEL_TRACES_EXPORTER=otlp", "grpc")
    found = examine(kafka, OTEL_LOGS_EXPORTER="onex_kafka", OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf")
    assert found.status("otel.signals") == "ok"
    found = examine(kafka, OTEL_LOGS_EXPORTER="onex_kafka", **NO_OTHERS)
    assert [found.status(f"otel.{each}") for each in ("exporter", "signals", "logging", "versions", "entry_point")] == [
        "ok"
    ] * 5


def test_a_file_of_secrets_that_everybody_may_read(kafka: str, tmp_path: Path) -> None:
    """The file's rights are looked at."""
    file = tmp_path / "producer.properties"
    file.write_text("linger.ms=1\n")
    variables = {"OTEL_EXPORTER_KAFKA_PRODUCER_CONFIG_FILE": str(file)}
    file.chmod(0o644)
    assert examine(kafka, **variables).status("settings.file") == "warn"
    file.chmod(0o600)
    assert examine(kafka, **variables).status("settings.file") == "ok"


def test_the_outbox_is_looked_into(kafka: str, outbox_dir: Path) -> None:
    """Records that wait, those of another configuration, what was set aside, and a directory that cannot be used."""
    port = HeldPort()
    try:
        exporter = KafkaLogExporter(bootstrap_servers=port.address, outbox_dir=outbox_dir, shutdown_timeout=0.1)
        exporter.export(audit_records(["one", "two"]))
        exporter.shutdown()
        found = examine(port.address, "--only", "outbox")
        assert "2 records wait" in found.check("outbox.waiting")["text"]
        found = examine(kafka, "--only", "outbox")
        assert "0 records wait" in found.check("outbox.waiting")["text"]
        assert found.ids("warn") == ["outbox.orphans"]
        assert port.address in found.check("outbox.orphans")["text"]
        assert "adopt them if they are meant for this cluster" in found.check("outbox.orphans")["todo"]
    finally:
        port.close()
    [configuration] = outbox_dir.iterdir()
    (configuration / "set-aside").mkdir(mode=0o700)
    (configuration / "set-aside" / "x.segment").touch()
    assert "outbox.aside" in examine(kafka, "--only", "outbox").ids("warn")
    assert examine(kafka, OTEL_EXPORTER_KAFKA_OUTBOX="false").ids("warn")[-1] == "outbox.directory"
    file = outbox_dir / "file"
    file.touch()
    examine(kafka, OTEL_EXPORTER_KAFKA_OUTBOX_DIR=str(file)).one_cause("outbox.directory", str(file))


def test_it_waits_until_all_is_well() -> None:
    """--wait asks again until Kafka is there, and gives up after its time."""
    with EmbeddedKafka() as kafka:
        kafka.down()
        assert doctor("--wait", "1s", "--timeout", "1s", **{SERVERS: kafka.bootstrap_servers}).code == 1
        command = [sys.executable, "-c", "import sys; from otel_kafka_exporter.cli import main; sys.exit(main())"]
        with subprocess.Popen(
            [*command, "doctor", "--wait", "60s", "--skip", "topics"],
            env={**os.environ, SERVERS: kafka.bootstrap_servers},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as waits:
            assert waits.stderr is not None
            assert waits.stderr.readline().startswith(b"not yet: network.tcp: ")
            kafka.up()
            output, _ = waits.communicate(timeout=60)
        assert (waits.returncode, b"OK   network.tcp" in output) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "nothing"], "expected a check such as tls.hostname, or a family of"),
        (["--only", "tls", "--skip", "tls"], "expected a check that --only and --skip leave, got none"),
        (["--timeout", "never"], "expected a duration such as 500ms, 10s or 2m"),
        (["--write", "--", "true"], "expected none of --wait, --write and --bootstrap-servers"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str) -> None:
    """It is exit code 2, and says what was expected."""
    done = doctor(*arguments)
    assert (done.code, done.output) == (2, b"")
    assert words in done.errors


def test_what_cannot_be_run(kafka: str, tmp_path: Path) -> None:
    """A command that is not there, and a bundle that cannot be written, are exit code 3."""
    assert doctor("--", "/nowhere/program").code == 3
    done = doctor("--bundle", str(tmp_path / "no" / "b.zip"), **{SERVERS: kafka})
    assert done.code == 3
    assert "No such file or directory" in done.errors


def test_json_is_one_document_and_nothing_else(kafka: str, tmp_path: Path) -> None:
    """All of stdout is the document, whatever else is asked for, with the keys that are described."""
    done = doctor("--json", "--wait", "1s", "--strict", "--bundle", str(tmp_path / "b.zip"), **{SERVERS: kafka})
    document = json.loads(done.output)
    assert list(document) == ["schema", "version", "time", "healthy", "root_cause", "counts", "checks"]
    keys = ["id", "status", "text", "means", "todo", "because", "doc", "seconds", "details"]
    assert all(list(each) == keys for each in document["checks"])
    assert document["schema"] == "otel-kafka-doctor/1"
    assert sum(document["counts"].values()) == len(document["checks"]) == len(CHECKS)


def secrets(tmp_path: Path) -> dict[str, str]:
    """One in every place that knows some."""
    file = tmp_path / "producer.properties"
    file.write_text(f"sasl.password={CANARY}-file\nssl.key.password={CANARY}-key\n")
    return {
        PROPERTIES: f"security.protocol=SASL_PLAINTEXT,sasl.mechanism=PLAIN,sasl.username=shop,sasl.jaas={CANARY}-jaas",
        "OTEL_EXPORTER_KAFKA_PRODUCER_CONFIG_FILE": str(file),
        "OTEL_EXPORTER_KAFKA_ENCODING": "protobuf",
        "OTEL_EXPORTER_KAFKA_SCHEMA_REGISTRY_URL": f"http://user:{CANARY}-url@127.0.0.1:9",
        "OTEL_EXPORTER_KAFKA_SCHEMA_REGISTRY_CONFIG": f"basic.auth.user.info=user:{CANARY}-info",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {CANARY}-bearer",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://user:{CANARY}-endpoint@collector:4318",
        "OTEL_API_KEY": f"{CANARY}-api-key",
    }


@pytest.mark.parametrize(
    "spoilt", [{}, {PROPERTIES: f"sasl.password={CANARY},rest,of,it"}, {"OTEL_EXPORTER_KAFKA_ENCODING": "x"}]
)
def test_no_secret_is_written_anywhere(kafka: str, tmp_path: Path, spoilt: dict[str, str]) -> None:
    """A canary in every place that holds secrets is neither on stdout, stderr, in JSON nor in a bundle."""
    variables = {**secrets(tmp_path), SERVERS: kafka, **spoilt}
    bundle = tmp_path / "bundle.zip"
    written = ""
    for arguments in (["-v", "--write"], ["--json"], ["-v", "--bundle", str(bundle)]):
        done = doctor(*arguments, "--timeout", "2s", **variables)
        assert done.code == 1
        written += done.output.decode() + done.errors
    with zipfile.ZipFile(bundle) as found:
        written += "".join(found.read(name).decode() for name in found.namelist())
    assert "canary" not in written
    assert "REDACTED" in written


def test_a_bundle_has_what_somebody_else_needs(kafka: str, tmp_path: Path) -> None:
    """Report, versions, environment, outbox and librdkafka's statistics are in it, and only its owner may read it."""
    bundle = tmp_path / "bundle.zip"
    bundle.write_text("an older one")
    assert doctor("--bundle", str(bundle), **{SERVERS: kafka, "SOMETHING_ELSE": "private"}).code == 0
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
    with zipfile.ZipFile(bundle) as found:
        parts: dict[str, Any] = {name: found.read(name).decode() for name in found.namelist()}
    assert set(parts) == {
        "report.txt", "report.json", "environment.json", "versions.json", "outbox.json", "librdkafka.json",
    }  # fmt: skip
    assert "OK   network.tcp" in parts["report.txt"]
    assert json.loads(parts["report.json"])["healthy"] is True
    assert json.loads(parts["environment.json"])[SERVERS] == kafka
    assert "SOMETHING_ELSE" not in parts["environment.json"]
    assert "brokers" in json.loads(parts["librdkafka.json"])
    assert list(tmp_path.glob(".*")) == []


def test_a_bundle_takes_no_devices_place(kafka: str, tmp_path: Path) -> None:
    """What is no file is not replaced by one, not by root either; a link stays, and leads to the bundle."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to pipe").symlink_to("pipe")
    for name in ("pipe", "to pipe"):
        done = doctor("--only", "settings", "--bundle", str(tmp_path / name), **{SERVERS: kafka})
        assert done.code == 3
        assert done.errors == f"Error: expected to write {tmp_path / name}, got: something there that is no file\n"
        assert stat.S_ISFIFO((tmp_path / name).stat().st_mode)
    (tmp_path / "link.zip").symlink_to("bundle.zip")
    for _ in range(2):
        assert doctor("--only", "settings", "--bundle", str(tmp_path / "link.zip"), **{SERVERS: kafka}).code == 0
        assert (tmp_path / "link.zip").is_symlink()
        assert zipfile.is_zipfile(tmp_path / "bundle.zip")


def test_a_reader_that_is_gone(kafka: str) -> None:
    """`| head -1` ends it without a traceback."""
    command = [sys.executable, "-c", "import sys; from otel_kafka_exporter.cli import main; sys.exit(main())", "doctor"]
    with subprocess.Popen(
        command, env={**os.environ, SERVERS: kafka}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
        assert (process.wait(), errors) == (141, b"")
