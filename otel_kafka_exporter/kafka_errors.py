"""What each Kafka error asks for. One table; `KafkaError.retriable()` is not a classification to use: it says False
for a message that timed out, which is the very case that another try is for.

Codes and their meaning: librdkafka's `rd_kafka_resp_err_t` (negative ones are its own) and the Kafka protocol's error
codes. What is not in the table is taken as passing: a record that is tried once too often costs less than a lost one.
"""

from __future__ import annotations

from typing import NamedTuple

from confluent_kafka import KafkaError

from .outcome import Disposition

RETRY, SPOOL, DEAD_LETTER = Disposition.RETRY, Disposition.SPOOL, Disposition.DEAD_LETTER


class Verdict(NamedTuple):
    """What a failed delivery asks for, and the reason that is counted when the record is lost by it."""

    disposition: Disposition
    reason: str


TABLE: dict[int, Verdict] = {
    # The cluster is away, slow, or electing: nothing is wrong with the record.
    KafkaError._MSG_TIMED_OUT: Verdict(RETRY, "delivery_timeout"),
    KafkaError._TIMED_OUT: Verdict(RETRY, "delivery_timeout"),
    KafkaError._TIMED_OUT_QUEUE: Verdict(RETRY, "delivery_timeout"),
    KafkaError._PURGE_QUEUE: Verdict(RETRY, "delivery_timeout"),
    KafkaError._PURGE_INFLIGHT: Verdict(RETRY, "delivery_timeout"),
    KafkaError._TRANSPORT: Verdict(RETRY, "broker_unavailable"),
    KafkaError._ALL_BROKERS_DOWN: Verdict(RETRY, "broker_unavailable"),
    KafkaError._RESOLVE: Verdict(RETRY, "broker_unavailable"),
    KafkaError._DESTROY: Verdict(RETRY, "broker_unavailable"),
    KafkaError.NETWORK_EXCEPTION: Verdict(RETRY, "broker_unavailable"),
    KafkaError.BROKER_NOT_AVAILABLE: Verdict(RETRY, "broker_unavailable"),
    KafkaError.LEADER_NOT_AVAILABLE: Verdict(RETRY, "broker_unavailable"),
    KafkaError.NOT_LEADER_FOR_PARTITION: Verdict(RETRY, "broker_unavailable"),
    KafkaError.REPLICA_NOT_AVAILABLE: Verdict(RETRY, "broker_unavailable"),
    KafkaError.REQUEST_TIMED_OUT: Verdict(RETRY, "delivery_timeout"),
    KafkaError.NOT_ENOUGH_REPLICAS: Verdict(RETRY, "not_enough_replicas"),
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND: Verdict(RETRY, "not_enough_replicas"),
    KafkaError.KAFKA_STORAGE_ERROR: Verdict(RETRY, "broker_unavailable"),
    KafkaError.THROTTLING_QUOTA_EXCEEDED: Verdict(RETRY, "throttled"),
    KafkaError._QUEUE_FULL: Verdict(RETRY, "queue_full"),
    # The idempotent producer has lost its place; a new one begins anew.
    KafkaError._FATAL: Verdict(RETRY, "producer_fatal"),
    KafkaError._FENCED: Verdict(RETRY, "producer_fatal"),
    KafkaError._GAPLESS_GUARANTEE: Verdict(RETRY, "producer_fatal"),
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER: Verdict(RETRY, "producer_fatal"),
    KafkaError.INVALID_PRODUCER_EPOCH: Verdict(RETRY, "producer_fatal"),
    KafkaError.UNKNOWN_PRODUCER_ID: Verdict(RETRY, "producer_fatal"),
    # An operator can mend these: rights, credentials, topics.
    KafkaError.UNKNOWN_TOPIC_OR_PART: Verdict(SPOOL, "unknown_topic"),
    KafkaError._UNKNOWN_TOPIC: Verdict(SPOOL, "unknown_topic"),
    KafkaError._UNKNOWN_PARTITION: Verdict(SPOOL, "unknown_topic"),
    KafkaError.TOPIC_AUTHORIZATION_FAILED: Verdict(SPOOL, "not_authorized"),
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: Verdict(SPOOL, "not_authorized"),
    KafkaError._AUTHENTICATION: Verdict(SPOOL, "not_authenticated"),
    KafkaError.SASL_AUTHENTICATION_FAILED: Verdict(SPOOL, "not_authenticated"),
    KafkaError._SSL: Verdict(SPOOL, "not_authenticated"),
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT: Verdict(SPOOL, "broker_configuration"),
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE: Verdict(SPOOL, "broker_configuration"),
    KafkaError.POLICY_VIOLATION: Verdict(SPOOL, "broker_configuration"),
    KafkaError.INVALID_REQUIRED_ACKS: Verdict(SPOOL, "broker_configuration"),
    # No broker will take this record as it is.
    KafkaError.MSG_SIZE_TOO_LARGE: Verdict(DEAD_LETTER, "record_too_large"),
    KafkaError.RECORD_LIST_TOO_LARGE: Verdict(DEAD_LETTER, "record_too_large"),
    KafkaError.INVALID_MSG: Verdict(DEAD_LETTER, "invalid_record"),
    KafkaError.INVALID_MSG_SIZE: Verdict(DEAD_LETTER, "invalid_record"),
    KafkaError.INVALID_RECORD: Verdict(DEAD_LETTER, "invalid_record"),
    KafkaError.INVALID_TIMESTAMP: Verdict(DEAD_LETTER, "invalid_timestamp"),
    KafkaError.TOPIC_EXCEPTION: Verdict(DEAD_LETTER, "invalid_topic"),
    KafkaError._INVALID_ARG: Verdict(DEAD_LETTER, "invalid_record"),
    KafkaError._BAD_MSG: Verdict(RETRY, "broker_unavailable"),  # a reply that makes no sense: not a Kafka broker
}

_PASSING = Verdict(RETRY, "broker_error")


def verdict(code: int) -> Verdict:
    """What a failed delivery with this error code asks for."""
    return TABLE.get(code, _PASSING)
