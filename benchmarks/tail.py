"""How fast `otel-kafka tail` goes through history, beside `kcat | grep` and `kcat | jq`, on one topic in one run.

Usage: python -m benchmarks.tail --records 300000 --rounds 3

A real Kafka holds the records in three partitions. Every command reads all of them to the end and prints none, since
what it looks for is not there: what is measured is the reading, deciding and decoding. Each is a process of its own,
its start included. Both encodings of a case are measured in turn, so that other load on the machine meets both. The
medians of the rounds are printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from otel_kafka_exporter import KafkaLogExporter
from tests.rig.kafka import KafkaCluster

from .records import sample_records

TOPIC = "omninode.logging.application.v1"
BATCH = 1_000
COMMAND = str(Path(sys.executable).with_name("otel-kafka"))
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OURS = {
    "headers decide: --tenant": ["--tenant", "nobody"],
    "headers decide: --correlation-id": ["--correlation-id", TRACE],
    "the value's bytes decide: --logger": ["--logger", "nobody"],
    "values are decoded: -q on the context": ["-q", "context.ms<0"],
    "the value's bytes decide: --grep": ["--grep", "no.?body"],
    "values are decoded: --grep": ["--grep", "no.?bo"],
}
ENCODINGS = {"JSON": "j.", "Protobuf": "p."}
OTHERS = {
    "kcat | grep, headers": "{kcat} -f '%h\\n' | grep x-tenant=nobody",
    "kcat | grep, values": "{kcat} -f '%s\\n' | grep nobody",
    "kcat | jq, values": "{kcat} -f '%s\\n' | jq -c 'select(.payload.context.ms<0)'",
    "kcat -J | jq, values": "{kcat} -J | jq -c 'select((.payload|fromjson).payload.context.ms<0)'",
}


def fill(servers: str, prefix: str, records: int, encoding: str) -> None:
    exporter = KafkaLogExporter(
        bootstrap_servers=servers, topic_prefix=prefix, encoding=encoding, outbox=False, application_key="none"
    )
    for start in range(0, records, BATCH):
        exporter.export(sample_records(min(BATCH, records - start)))
    exporter.shutdown()
    assert exporter.stats().delivered == records, exporter.stats()


class Took(NamedTuple):
    """What a command took: seconds of the clock, and of the processors, which other load does not add to."""

    clock: float
    processors: float


def seconds(command: Sequence[str] | str, environment: dict[str, str]) -> Took:
    began, used = time.perf_counter(), processors()
    done = subprocess.run(
        command, shell=isinstance(command, str), env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "", done.stdout[:500]
    return Took(time.perf_counter() - began, processors() - used)


def processors() -> float:
    """Seconds that the commands until now have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def say(name: str, took: list[Took], records: int) -> None:
    clock, used = (statistics.median(getattr(each, name) for each in took) for name in Took._fields)
    print(f"{name:<48}{records / clock:>12,.0f}/s{clock:>9.2f} s{used:>9.2f} s of processors")


def measure_ours(environment: dict[str, str], rounds: int, records: int) -> None:
    for name, arguments in OURS.items():
        command = [COMMAND, "tail", "--category", "application", "--no-follow", *arguments]
        took: dict[str, list[Took]] = {encoding: [] for encoding in ENCODINGS}
        for _ in range(rounds):
            for encoding, prefix in ENCODINGS.items():
                took[encoding].append(seconds(command, environment | {"OTEL_EXPORTER_KAFKA_TOPIC_PREFIX": prefix}))
        for encoding, each in took.items():
            say(f"{encoding}, {name}", each, records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, KafkaCluster(Path(directory)) as cluster:
        servers = cluster.bootstrap_servers
        for encoding, prefix in ENCODINGS.items():
            cluster.create_topics(prefix + TOPIC)
            fill(servers, prefix, given.records, encoding.lower())
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(f"{given.records:,} records, three partitions\n")
        environment = {**os.environ, "OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS": servers}
        measure_ours(environment, given.rounds, given.records)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(f"{'largest process' if peak > before else 'no process is as large as':<48}{peak / 1024:>12,.0f} MB\n")
        if kcat := shutil.which("kcat"):
            read = f"{kcat} -b {servers} -t j.{TOPIC} -C -e -q"
            for name, text in OTHERS.items():
                if "jq" not in name or shutil.which("jq"):
                    command = text.format(kcat=read)
                    say(f"JSON, {name}", [seconds(command, environment) for _ in range(given.rounds)], given.records)


if __name__ == "__main__":
    main()
