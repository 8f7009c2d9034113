"""What each Kafka error asks for. One table; `KafkaError.retriable()` is not a classification to use: it says False
for a message that timed out, which is the very case that another try is for.

Codes and their meaning: librdkafka's `rd_kafka_resp_err_t` (negative ones are its own) and the Kafka protocol's error
codes. What is not in the table is taken as passing: a record that is tried once too often costs less than a lost one.
"""

from __future__ import annotations

from typing import NamedTuple

from confluent_kafka import KafkaError

from otel_kafka_exporter.process import Disposition

AWAY, LATER = Disposition.AWAY, Disposition.LATER
BLOCKED, DEAD_LETTER = Disposition.BLOCKED, Disposition.DEAD_LETTER


#: Beside Kafka's codes: the record's schema has no ID yet, so that it cannot be framed. A topic's matter, too.
NO_SCHEMA_ID = -100_000


class Verdict(NamedTuple):
    """What a failed delivery asks for, and the reason that is counted when the record is lost by it."""

    disposition: Disposition
    reason: str


TABLE: dict[int, Verdict] = {
    # A partition is away, slow, or electing: nothing is wrong with the record.
    KafkaError._MSG_TIMED_OUT: Verdict(LATER, "delivery_timeout"),
    KafkaError._TIMED_OUT: Verdict(LATER, "delivery_timeout"),
    KafkaError._TIMED_OUT_QUEUE: Verdict(LATER, "delivery_timeout"),
    KafkaError._PURGE_QUEUE: Verdict(LATER, "delivery_timeout"),
    KafkaError._PURGE_INFLIGHT: Verdict(LATER, "delivery_timeout"),
    KafkaError._TRANSPORT: Verdict(LATER, "broker_unavailable"),
    KafkaError._ALL_BROKERS_DOWN: Verdict(LATER, "broker_unavailable"),
    KafkaError._RESOLVE: Verdict(LATER, "name_unresolved"),
    KafkaError._DESTROY: Verdict(LATER, "broker_unavailable"),
    KafkaError.NETWORK_EXCEPTION: Verdict(LATER, "broker_unavailable"),
    KafkaError.BROKER_NOT_AVAILABLE: Verdict(LATER, "broker_unavailable"),
    KafkaError.LEADER_NOT_AVAILABLE: Verdict(LATER, "broker_unavailable"),
    KafkaError.NOT_LEADER_FOR_PARTITION: Verdict(LATER, "broker_unavailable"),
    KafkaError.REPLICA_NOT_AVAILABLE: Verdict(LATER, "broker_unavailable"),
    KafkaError.REQUEST_TIMED_OUT: Verdict(LATER, "delivery_timeout"),
    KafkaError.NOT_ENOUGH_REPLICAS: Verdict(LATER, "not_enough_replicas"),
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND: Verdict(LATER, "not_enough_replicas"),
    KafkaError.KAFKA_STORAGE_ERROR: Verdict(LATER, "broker_unavailable"),
    KafkaError.THROTTLING_QUOTA_EXCEEDED: Verdict(LATER, "throttled"),
    KafkaError._QUEUE_FULL: Verdict(LATER, "queue_full"),
    # The idempotent producer has lost its place; a new one begins anew.
    KafkaError._FATAL: Verdict(AWAY, "producer_fatal"),
    KafkaError._FENCED: Verdict(AWAY, "producer_fatal"),
    KafkaError._GAPLESS_GUARANTEE: Verdict(AWAY, "producer_fatal"),
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER: Verdict(AWAY, "producer_fatal"),
    KafkaError.INVALID_PRODUCER_EPOCH: Verdict(AWAY, "producer_fatal"),
    KafkaError.UNKNOWN_PRODUCER_ID: Verdict(AWAY, "producer_fatal"),
    # An operator can mend these, which concern every topic: credentials, certificates, the right to be idempotent.
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: Verdict(AWAY, "cluster_not_authorized"),
    KafkaError._AUTHENTICATION: Verdict(AWAY, "not_authenticated"),
    KafkaError.SASL_AUTHENTICATION_FAILED: Verdict(AWAY, "not_authenticated"),
    KafkaError.UNSUPPORTED_SASL_MECHANISM: Verdict(AWAY, "not_authenticated"),
    KafkaError.ILLEGAL_SASL_STATE: Verdict(AWAY, "not_authenticated"),
    KafkaError.SECURITY_DISABLED: Verdict(AWAY, "not_authenticated"),
    KafkaError._SSL: Verdict(AWAY, "tls_failed"),
    # And these, which concern one topic: its existence, the right to write to it, its configuration.
    KafkaError.UNKNOWN_TOPIC_OR_PART: Verdict(BLOCKED, "unknown_topic"),
    KafkaError._UNKNOWN_TOPIC: Verdict(BLOCKED, "unknown_topic"),
    KafkaError._UNKNOWN_PARTITION: Verdict(BLOCKED, "unknown_topic"),
    KafkaError.TOPIC_AUTHORIZATION_FAILED: Verdict(BLOCKED, "not_authorized"),
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT: Verdict(BLOCKED, "broker_configuration"),
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE: Verdict(BLOCKED, "broker_configuration"),
    KafkaError.POLICY_VIOLATION: Verdict(BLOCKED, "broker_configuration"),
    KafkaError.INVALID_REQUIRED_ACKS: Verdict(BLOCKED, "broker_configuration"),
    NO_SCHEMA_ID: Verdict(BLOCKED, "no_schema_id"),
    # No broker will take this record as it is; in company, it may be another one's fault (see recovery.py).
    KafkaError.MSG_SIZE_TOO_LARGE: Verdict(DEAD_LETTER, "record_too_large"),
    KafkaError.RECORD_LIST_TOO_LARGE: Verdict(DEAD_LETTER, "record_too_large"),
    KafkaError.INVALID_MSG: Verdict(DEAD_LETTER, "invalid_record"),
    KafkaError.INVALID_MSG_SIZE: Verdict(DEAD_LETTER, "invalid_record"),
    KafkaError.INVALID_RECORD: Verdict(DEAD_LETTER, "invalid_record"),
    KafkaError._INVALID_DIFFERENT_RECORD: Verdict(DEAD_LETTER, "invalid_record"),  # another one in its batch was
    KafkaError.INVALID_TIMESTAMP: Verdict(DEAD_LETTER, "invalid_timestamp"),
    KafkaError.TOPIC_EXCEPTION: Verdict(DEAD_LETTER, "invalid_topic"),
    KafkaError._INVALID_ARG: Verdict(DEAD_LETTER, "invalid_record"),
    KafkaError._BAD_MSG: Verdict(LATER, "broker_unavailable"),  # a reply that makes no sense: not a Kafka broker
}

#: What comes back with these does so because its client is of no further use. One with a fatal error purges what it
#: has, and may report that first.
END_OF_A_CLIENT = frozenset(
    {
        *(KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT),
        *(code for code, each in TABLE.items() if each.reason == "producer_fatal"),
    }
)

_PASSING = Verdict(LATER, "broker_error")


def verdict(code: int) -> Verdict:
    """What a failed delivery with this error code asks for."""
    return TABLE.get(code, _PASSING)
