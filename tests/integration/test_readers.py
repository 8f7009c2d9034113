"""What clients of other makes read: the codecs and the partitioners of docs/migration.md."""

from __future__ import annotations

import asyncio
import subprocess
import uuid

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import UnsupportedCodecError
from aiokafka.partitioner import DefaultPartitioner

from otel_kafka_exporter import LoggingEventPublisherContext
from otel_kafka_exporter.settings.values import COMPRESSIONS
from tests.rig.kafka import KafkaCluster
from tests.ways_in.running import read

pytestmark = pytest.mark.integration

AUDIT = "omninode.logging.audit.v1"
TENANTS = [f"tenant-{n}" for n in range(40)]


def publish(kafka: KafkaCluster, compression: str) -> str:
    """An event of each tenant, all at once so that they are compressed together; the topic that they are in."""
    prefix = f"t{uuid.uuid4().hex[:12]}."
    kafka.create_topics(prefix + AUDIT)

    async def main() -> None:
        async with LoggingEventPublisherContext(
            kafka.bootstrap_servers, topic_prefix=prefix, compression=compression
        ) as publisher:
            events = [publisher.publish_audit_log(tenant, "a", "b", "c", "success") for tenant in TENANTS]
            assert all(await asyncio.gather(*events))

    asyncio.run(main())
    return prefix + AUDIT


async def aiokafka_reads(servers: str, topic: str) -> dict[str, int]:
    """The partition of each key, as aiokafka finds it."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, partition) for partition in range(3)])
        found: dict[str, int] = {}
        while len(found) < len(TENANTS):
            message = await asyncio.wait_for(consumer.getone(), 15)
            found[message.key.decode()] = message.partition
        return found
    finally:
        await consumer.stop()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_librdkafka_reads_every_compression(kafka: KafkaCluster, kcat: str, compression: str) -> None:
    """confluent-kafka and kcat read each of them as it is."""
    topic = publish(kafka, compression)
    servers = kafka.bootstrap_servers
    assert len(read(servers, topic, len(TENANTS))) == len(TENANTS)
    command = [kcat, "-b", servers, "-t", topic, "-C", "-e", "-q", "-f", "%k\n"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert sorted(done.stdout.split()) == sorted(TENANTS), done


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_aiokafka_reads_gzip_without_extra_packages(kafka: KafkaCluster, compression: str) -> None:
    """Of what is compressed it reads gzip alone, and says which package the others need."""
    topic = publish(kafka, compression)
    if compression in ("none", "gzip"):
        assert asyncio.run(aiokafka_reads(kafka.bootstrap_servers, topic)).keys() == set(TENANTS)
    else:
        with pytest.raises(UnsupportedCodecError, match="not found"):
            asyncio.run(aiokafka_reads(kafka.bootstrap_servers, topic))


def test_aiokafkas_partitioner_finds_each_key(kafka: KafkaCluster) -> None:
    """A key is in the partition where aiokafka, and so Java, would have put it."""
    found = asyncio.run(aiokafka_reads(kafka.bootstrap_servers, publish(kafka, "none")))
    expects = DefaultPartitioner()
    assert found == {tenant: expects(tenant.encode(), [0, 1, 2], [0, 1, 2]) for tenant in TENANTS}
