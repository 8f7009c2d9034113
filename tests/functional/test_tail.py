"""`otel-kafka tail` over what is there: which records, in which order, how far, and how they are written."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from typing import Any

import pytest

from otel_kafka_exporter.cli.tail import ordering, reading
from otel_kafka_exporter.records import JSON, Encoding
from otel_kafka_exporter.records.protobuf_encoding import FRAMED_PROTOBUF, PROTOBUF
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.tailing import TOPICS, kafka_record

from .tails import put, tail

APPLICATION = TOPICS["application"]
TRACE = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"


def test_three_topics_are_one_log(embedded_kafka: EmbeddedKafka) -> None:
    """Without options and into a pipe, everything of all topics and partitions comes by time, and then it ends."""
    put(embedded_kafka, [kafka_record(at=n, message=f"m{n}") for n in range(0, 9, 3)], 0)
    put(embedded_kafka, [kafka_record(at=n, message=f"m{n}") for n in range(1, 9, 3)], 3)
    put(embedded_kafka, [kafka_record("audit", at=2), kafka_record("security", at=5)])
    done = tail("--utc")
    assert done.code == 0
    assert [line.split()[1] for line in done.lines] == [f"22:00:0{n}.000Z" for n in range(8)]
    assert "bob order.delete on order/17: success" in done.lines[2]
    assert "eve permission_check on ledger: deny" in done.lines[5]
    assert done.errors == "8 read, 8 matched, 0 duplicates, 0 undecodable\n"
    assert b"\x1b" not in done.output


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("encoding", [JSON, PROTOBUF, FRAMED_PROTOBUF], ids=["json", "protobuf", "framed"])
def test_every_encoding_is_read_without_being_told(
    embedded_kafka: EmbeddedKafka, encoding: Encoding, compression: str
) -> None:
    """JSON, Protobuf, Protobuf in a registry's frame, and what is compressed, all come out the same."""
    each = kafka_record(encoding=encoding, context={"n": 1, "deep": {"a": [True, None]}}, level="WARN")
    if encoding is FRAMED_PROTOBUF:
        each = each._replace(value=b"\0\0\0\0\7\0" + each.value)
    put(embedded_kafka, [each], compression=compression)
    done = tail("--json", "-q", "level>=warn and context.n=1")
    [document] = done.documents
    assert document["envelope"]["payload"]["context"] == {"n": 1, "deep": {"a": [True, None]}}
    assert (document["topic"], document["key"], document["error"]) == (APPLICATION, "shop", None)


def test_topics_are_those_of_the_exporters_settings(embedded_kafka: EmbeddedKafka) -> None:
    """Prefix and namespace come from the exporter's variables; topics that are not there are said."""
    put(embedded_kafka, [kafka_record(prefix="dev.")])
    done = tail(OTEL_EXPORTER_KAFKA_TOPIC_PREFIX="dev.")
    assert (done.code, len(done.lines)) == (0, 1)
    assert "topic dev.omninode.logging.audit.v1 does not exist, or may not be read\n" in done.errors
    done = tail(OTEL_EXPORTER_KAFKA_TOPIC_PREFIX="other.")
    assert (done.code, done.output) == (1, b"")
    assert f"there are dev.{APPLICATION}: set OTEL_EXPORTER_KAFKA_TOPIC_PREFIX" in done.errors
    assert set(embedded_kafka_topics(embedded_kafka)) == {f"dev.{APPLICATION}"}


def embedded_kafka_topics(kafka: EmbeddedKafka) -> list[str]:
    with reading.Reader(kafka.bootstrap_servers, {}, print) as reader:
        return list(reader.topics())


def test_empty_topics_end_at_once(embedded_kafka: EmbeddedKafka) -> None:
    """A topic without records is no reason to wait."""
    embedded_kafka.create_topic(APPLICATION)
    for arguments in ([], ["--last", "3"], ["--since", "1h"]):
        done = tail("--category", "application", *arguments)
        assert (done.code, done.output, done.errors) == (
            0,
            b"",
            "0 read, 0 matched, 0 duplicates, 0 undecodable\n",
        )


def test_a_stretch_of_time(embedded_kafka: EmbeddedKafka) -> None:
    """`--since` includes its moment, `--until` does not; what was put there late counts by its own time."""
    put(embedded_kafka, [kafka_record(at=60 * n, message=f"m{n}") for n in (0, 1, 2, 3, 1.5)], 0)
    done = tail("--json", "--category", "application", "--since", "2026-11-25T22:01Z", "--until", "2026-11-25T22:03Z")
    assert sorted(done.messages) == ["m1", "m1.5", "m2"]
    assert "3 read" in done.errors


def test_the_last_ones_are_the_last_by_time_over_all_partitions(embedded_kafka: EmbeddedKafka) -> None:
    """Of many records in unequal partitions the last by time come, in order, and by far not all are read."""
    put(embedded_kafka, [kafka_record(at=n, message=f"m{n}") for n in range(0, 4_000, 2)], 0)
    put(embedded_kafka, [kafka_record(at=n, message=f"m{n}") for n in range(1, 2_000, 2)], 1)
    put(embedded_kafka, [kafka_record(at=3_991, message="m3991")], 2)
    done = tail("--json", "--category", "application", "--last", "5")
    assert done.messages == ["m3991", "m3992", "m3994", "m3996", "m3998"]
    assert int(done.errors.split()[0].replace(",", "")) < 1_000


def test_the_last_ones_of_those_that_match(embedded_kafka: EmbeddedKafka) -> None:
    """With a filter it goes back for as long as it takes, and no further than `--since`."""
    put(embedded_kafka, [kafka_record(at=n, message=f"m{n}", code="A" if n % 500 == 0 else "B") for n in range(1_600)])
    arguments = ("--json", "--category", "application", "--code", "A", "--last", "2")
    assert tail(*arguments).messages == ["m1000", "m1500"]
    assert tail(*arguments, "--since", "2026-11-25T22:20Z").messages == ["m1500"]
    assert tail("--json", "--code", "A", "--last", "9", "--category", "application").messages[0] == "m0"


def test_a_record_and_those_around_it(embedded_kafka: EmbeddedKafka) -> None:
    """`--at` shows one record, with `-C` its neighbours in the partition, and says where there is none."""
    put(embedded_kafka, [kafka_record(at=n, message=f"m{n}") for n in range(9)], 2)
    at = f"{APPLICATION}/2/4"
    assert tail("--json", "--at", at).messages == ["m4"]
    assert tail("--json", "--at", at, "-C", "2").messages == ["m2", "m3", "m4", "m5", "m6"]
    assert tail("--json", "--at", f"{APPLICATION}/2/0", "-C", "1").messages == ["m0", "m1"]
    done = tail("--at", f"{APPLICATION}/2/9")
    assert (done.code, done.output) == (0, b"")
    assert f"{APPLICATION}/2 has the offsets from 0 to before 9" in done.errors
    assert tail("--at", f"{APPLICATION}/7/0").code == 1
    [line] = tail("--offsets", "--last", "1").lines
    [place] = re.findall(r"\S+/2/8", line)
    assert tail("--json", "--at", place).messages == ["m8"]


def test_options_narrow_together(embedded_kafka: EmbeddedKafka) -> None:
    """Filters are added up; what the headers, the key or the bytes tell is not decoded, and the result is the same."""
    put(
        embedded_kafka,
        [
            kafka_record(at=0, tenant_id="acme", level="ERROR", message="boom"),
            kafka_record(at=1, tenant_id="acme", level="INFO", message="boom"),
            kafka_record(at=2, tenant_id="other", level="ERROR", message="boom"),
            kafka_record(at=3, tenant_id="acme", level="WARN", message="quiet", source="pay"),
            kafka_record("audit", at=4, tenant_id="acme"),
            kafka_record("security", at=5, tenant_id="acme"),
        ],
    )

    def offsets(*arguments: str) -> list[int]:
        return [document["timestamp"] // 1000 % 10 for document in tail("--json", *arguments).documents]

    assert offsets("--tenant", "acme") == [0, 1, 3, 4, 5]
    assert offsets("--tenant", "acme", "--level", "warn") == [0, 3]
    assert offsets("--tenant", "acme", "--level", "warn", "--service", "p*") == [3]
    assert offsets("--grep", "boom", "--exclude", "ERROR|other") == [0, 1, 2]
    assert offsets("-q", "tenant=acme and (level=ERROR or outcome=deny)") == [0, 5]
    assert offsets("--actor", "bob", "--actor", "eve") == [4, 5]
    assert offsets("--category", "audit", "--action", "order.*") == [4]
    assert offsets("-q", "level=ERROR", "-q", "tenant!=acme") == [2]


def test_a_request_is_a_story_over_services_and_topics(embedded_kafka: EmbeddedKafka) -> None:
    """All records of one correlation ID come by time, each with the time since the first, by trace ID as well."""
    own: dict[str, Any] = {"correlation_id": TRACE}
    put(
        embedded_kafka,
        [
            kafka_record(at=0, message="of another"),
            kafka_record(at=1, message="begins", **own),
            kafka_record("security", at=1.1, **own),
            kafka_record("audit", at=1.25, source="ledger", **own),
            kafka_record(at=63, message="ends", source="pay", **own),
        ],
    )
    for given in (TRACE, TRACE.replace("-", ""), TRACE[-8:]):
        done = tail("--correlation-id", given)
        assert [line.split()[2] for line in done.lines] == ["+0.000", "+0.100", "+0.250", "+1:02.000"]
    assert "begins" in done.lines[0]
    assert "ends" in done.lines[3]


def test_raw_is_the_values_bytes(embedded_kafka: EmbeddedKafka) -> None:
    """`--raw` writes the values as they are, a line each."""
    each = kafka_record(encoding=PROTOBUF, message="\x1b]0;title\x07")
    put(embedded_kafka, [each])
    assert tail("--raw").output == each.value + b"\n"


def test_what_is_no_envelope_is_a_line_and_no_traceback(embedded_kafka: EmbeddedKafka) -> None:
    """It says where it is and why; a filter that cannot be told of it leaves it out; it is counted either way."""
    broken = kafka_record(at=1)._replace(value=b"\x1b[31mnothing of ours")
    tombstone = kafka_record("audit", at=2)
    put(embedded_kafka, [kafka_record(at=0, message="fine"), broken], 1)
    put(embedded_kafka, [tombstone._replace(value=b"")], 0)
    done = tail()
    assert f"{APPLICATION}/1/1: expected JSON, got something else at character 0" in done.lines[1]
    assert f"{TOPICS['audit']}/0/0: expected JSON" in done.lines[2]
    assert b"\x1b" not in done.output
    assert "3 read, 1 matched, 0 duplicates, 2 undecodable" in done.errors
    assert len(tail("--tenant", "default").lines) == 3
    done = tail("-q", "message ~ fine or actor = x")
    assert len(done.lines) == 1
    assert "2 undecodable" in done.errors
    assert tail("--json").documents[1]["value"] == "\x1b[31mnothing of ours"


def test_records_without_a_time_are_shown_too(embedded_kafka: EmbeddedKafka) -> None:
    """What a client stamped with no time, or one before 1970 or of the far future, counts and is shown, in its turn."""
    for number, milliseconds in enumerate([-1, -(10**15), 1, 2**62]):
        put(
            embedded_kafka,
            [kafka_record(message=f"m{number}", event_id=str(number))._replace(milliseconds=milliseconds)],
            0,
        )
    for arguments in ([], ["--since", "beginning"], ["--last", "4"]):
        done = tail("--json", "--category", "application", *arguments)
        assert done.messages == ["m1", "m0", "m2", "m3"]
        assert done.errors == "4 read, 4 matched, 0 duplicates, 0 undecodable\n"
    assert tail("--json", "--since", "2026-01-01").messages == ["m3"]


def test_a_record_that_came_twice_stands_back(embedded_kafka: EmbeddedKafka) -> None:
    """The second of one event_id says so, and is dim; `--dedupe` leaves it out; both are counted."""
    twice = kafka_record(message="twice")
    put(embedded_kafka, [twice, twice, kafka_record(at=1, message="once")])
    done = tail("--color", "always")
    assert len(done.lines) == 3
    assert "(duplicate)" in done.lines[1]
    assert set(re.findall("\x1b\\[([0-9;]*)m", done.lines[1])) == {"2", "0"}
    assert "3 read, 3 matched, 1 duplicate," in done.errors
    assert tail("--dedupe", "--json").messages == ["twice", "once"]
    assert [document["duplicate"] for document in tail("--json").documents] == [False, True, False]


def test_partitions_that_are_ahead_wait(embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """With little memory, partitions of different ages are read in turns, and nothing is lost or out of order."""
    monkeypatch.setattr(ordering, "MAX_BYTES", 30_000)
    monkeypatch.setattr(reading, "_BATCH", 20)
    for partition in range(3):
        records = [kafka_record(at=partition * 10 + 3 * n, message=f"{partition} {n}") for n in range(200)]
        put(embedded_kafka, records, partition)
    done = tail("--json", "--category", "application")
    times = [document["timestamp"] for document in done.documents]
    assert len(set(done.messages)) == len(times) == 600
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["-q", "levl>=WARN"],
            ["at character 1: expected a field, got 'levl'. Did you mean level?", "  levl>=WARN\n  ^"],
        ),
        (["--since", "soon"], ["--since: expected a time such as 10m", "got 'soon'"]),
        (["--since", "1h", "--until", "2h"], ["--until: expected a time after --since, got 2h"]),
        (["--follow", "--until", "1h"], ["--follow: expected no --until"]),
        (["--at", "topic/1"], ["--at: expected topic/partition/offset, got 'topic/1'"]),
        (["--at", "t/1/2", "--last", "5"], ["--at: expected neither --since"]),
        (["-C", "5"], ["-C: expected --at"]),
        (["--grep", "("], ["expected a regular expression, got '('"]),
        (["--fields", "context.a,lvel"], ["got 'context.a,lvel'. Did you mean level?"]),
        (["--json", "--raw"], ["expected --json or --raw, got both"]),
        (["--json", "--expand"], ["expected lines for a person beside --expand, got --json"]),
        (["--level", "loud"], ["'loud' is not one of"]),
        (["--outbox", "--follow"], ["--outbox: expected neither --follow nor --at"]),
        (["--bootstrap-servers", "nowhere"], ["bootstrap_servers: expected host:port"]),
    ],
)
def test_wrong_usage_says_what_is_right(arguments: list[str], words: list[str]) -> None:
    """What cannot be meant exits with 2 before any broker is asked, and says what was expected and got."""
    done = tail(*arguments, OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS="localhost:1")
    assert done.code == 2
    assert all(each in done.errors for each in words), done.errors
    assert "Traceback" not in done.errors


def test_a_kafka_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address and the reason are said once, and what says more; the code is that of what could not be run."""
    monkeypatch.setattr(reading, "_ANSWER_SECONDS", 0.5)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        done = tail("--bootstrap-servers", address)
    assert (done.code, done.output) == (3, b"")
    line, advice = done.errors.splitlines()
    assert advice.startswith("otel-kafka doctor ")
    assert line.startswith(f"no Kafka answers at {address} within 0.5 s: ")
    assert "Connection refused" in line


def test_a_slow_kafka_is_waited_for(embedded_kafka: EmbeddedKafka) -> None:
    """One that takes longer for an answer than this looks for Ctrl-C is heard all the same."""
    put(embedded_kafka, [kafka_record(at=n, message=f"m{n}") for n in range(3)], 0)
    embedded_kafka.slow(600)
    done = tail("--json", "--no-follow", OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS=embedded_kafka.bootstrap_servers)
    assert (done.code, done.messages) == (0, ["m0", "m1", "m2"]), done.errors


def test_a_kafka_that_goes_away_meanwhile_is_a_failure(
    embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that has an end does not wait for ever: it says that it is not complete, and exits with 1."""
    put(embedded_kafka, [kafka_record(at=n) for n in range(10)], 0)
    monkeypatch.setattr(reading, "_SILENCE_SECONDS", 0.3)
    assign = reading.Reader.assign

    def assign_and_go_away(self: reading.Reader, starts: dict[tuple[str, int], int]) -> None:
        embedded_kafka.down()
        assign(self, starts)

    monkeypatch.setattr(reading.Reader, "assign", assign_and_go_away)
    done = tail("--category", "application")
    assert done.code == 1
    assert re.search(r"has sent nothing for \d+ s", done.errors)
    assert "0 read" in done.errors


def test_the_exporter_loads_nothing_of_it() -> None:
    """Who imports the exporter pays for neither the command line nor its libraries."""
    script = (
        "import sys, otel_kafka_exporter; otel_kafka_exporter.KafkaLogExporter;"
        "print([name for name in sys.modules if name.startswith(('otel_kafka_exporter.cli', 'click', 'rich'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "[]\n"
