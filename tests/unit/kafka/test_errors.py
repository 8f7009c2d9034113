"""What each Kafka error asks for."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from otel_kafka_exporter.kafka.errors import NO_SCHEMA_ID, TABLE, verdict
from otel_kafka_exporter.process.outcome import Disposition

AWAY, BLOCKED, DEAD_LETTER, LATER = (
    Disposition.AWAY,
    Disposition.BLOCKED,
    Disposition.DEAD_LETTER,
    Disposition.LATER,
)

EXPECTED = {
    "_MSG_TIMED_OUT": (LATER, "delivery_timeout"),
    "_TIMED_OUT": (LATER, "delivery_timeout"),
    "_TIMED_OUT_QUEUE": (LATER, "delivery_timeout"),
    "_PURGE_QUEUE": (LATER, "delivery_timeout"),
    "_PURGE_INFLIGHT": (LATER, "delivery_timeout"),
    "REQUEST_TIMED_OUT": (LATER, "delivery_timeout"),
    "_TRANSPORT": (LATER, "broker_unavailable"),
    "_ALL_BROKERS_DOWN": (LATER, "broker_unavailable"),
    "_RESOLVE": (LATER, "name_unresolved"),
    "_DESTROY": (LATER, "broker_unavailable"),
    "_BAD_MSG": (LATER, "broker_unavailable"),
    "NETWORK_EXCEPTION": (LATER, "broker_unavailable"),
    "BROKER_NOT_AVAILABLE": (LATER, "broker_unavailable"),
    "LEADER_NOT_AVAILABLE": (LATER, "broker_unavailable"),
    "NOT_LEADER_FOR_PARTITION": (LATER, "broker_unavailable"),
    "REPLICA_NOT_AVAILABLE": (LATER, "broker_unavailable"),
    "KAFKA_STORAGE_ERROR": (LATER, "broker_unavailable"),
    "NOT_ENOUGH_REPLICAS": (LATER, "not_enough_replicas"),
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND": (LATER, "not_enough_replicas"),
    "THROTTLING_QUOTA_EXCEEDED": (LATER, "throttled"),
    "_QUEUE_FULL": (LATER, "queue_full"),
    "_FATAL": (AWAY, "producer_fatal"),
    "_FENCED": (AWAY, "producer_fatal"),
    "_GAPLESS_GUARANTEE": (AWAY, "producer_fatal"),
    "OUT_OF_ORDER_SEQUENCE_NUMBER": (AWAY, "producer_fatal"),
    "INVALID_PRODUCER_EPOCH": (AWAY, "producer_fatal"),
    "UNKNOWN_PRODUCER_ID": (AWAY, "producer_fatal"),
    "UNKNOWN_TOPIC_OR_PART": (BLOCKED, "unknown_topic"),
    "_UNKNOWN_TOPIC": (BLOCKED, "unknown_topic"),
    "_UNKNOWN_PARTITION": (BLOCKED, "unknown_topic"),
    "TOPIC_AUTHORIZATION_FAILED": (BLOCKED, "not_authorized"),
    "CLUSTER_AUTHORIZATION_FAILED": (AWAY, "cluster_not_authorized"),
    "_AUTHENTICATION": (AWAY, "not_authenticated"),
    "SASL_AUTHENTICATION_FAILED": (AWAY, "not_authenticated"),
    "_SSL": (AWAY, "tls_failed"),
    "UNSUPPORTED_SASL_MECHANISM": (AWAY, "not_authenticated"),
    "ILLEGAL_SASL_STATE": (AWAY, "not_authenticated"),
    "SECURITY_DISABLED": (AWAY, "not_authenticated"),
    "UNSUPPORTED_FOR_MESSAGE_FORMAT": (BLOCKED, "broker_configuration"),
    "UNSUPPORTED_COMPRESSION_TYPE": (BLOCKED, "broker_configuration"),
    "POLICY_VIOLATION": (BLOCKED, "broker_configuration"),
    "INVALID_REQUIRED_ACKS": (BLOCKED, "broker_configuration"),
    "MSG_SIZE_TOO_LARGE": (DEAD_LETTER, "record_too_large"),
    "RECORD_LIST_TOO_LARGE": (DEAD_LETTER, "record_too_large"),
    "INVALID_MSG": (DEAD_LETTER, "invalid_record"),
    "INVALID_MSG_SIZE": (DEAD_LETTER, "invalid_record"),
    "INVALID_RECORD": (DEAD_LETTER, "invalid_record"),
    "_INVALID_DIFFERENT_RECORD": (DEAD_LETTER, "invalid_record"),
    "_INVALID_ARG": (DEAD_LETTER, "invalid_record"),
    "INVALID_TIMESTAMP": (DEAD_LETTER, "invalid_timestamp"),
    "TOPIC_EXCEPTION": (DEAD_LETTER, "invalid_topic"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_row(name: str) -> None:
    """Each error is retried, spooled or dead-lettered for the reason that is written here by hand."""
    assert verdict(getattr(KafkaError, name)) == EXPECTED[name]


def test_no_other_rows() -> None:
    """The table has no row that is not written here."""
    assert set(TABLE) == {getattr(KafkaError, name) for name in EXPECTED} | {NO_SCHEMA_ID}


@pytest.mark.parametrize(
    "code", [KafkaError._FAIL, KafkaError.UNKNOWN, KafkaError.COORDINATOR_NOT_AVAILABLE, -99_999, 99_999]
)
def test_what_is_not_in_the_table(code: int) -> None:
    """An error that nobody has thought of is tried again, because a record too often costs less than one lost."""
    assert verdict(code) == (LATER, "broker_error")


def test_reasons_are_labels() -> None:
    """Reasons are values of a metric's attribute: few, in lower case, without blanks."""
    reasons = {row.reason for row in TABLE.values()}
    assert all(reason.replace("_", "").islower() and reason.isidentifier() for reason in reasons)
    assert len(reasons) < 20


def test_one_reason_one_disposition() -> None:
    """A reason that is counted asks for one thing only."""
    assert len({row.reason for row in TABLE.values()}) == len(set(TABLE.values()))
