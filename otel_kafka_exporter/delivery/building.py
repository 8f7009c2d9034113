"""Records are made of what is handed over; what cannot be made is a dead letter, and costs no other record."""

from __future__ import annotations

from typing import Protocol, TypeVar

from otel_kafka_exporter.errors import ConversionError
from otel_kafka_exporter.process import is_interruption, kind_of_fault, note
from otel_kafka_exporter.records import KafkaRecord, describe

Source = TypeVar("Source", contravariant=True)  # noqa: PLC0105 - functions use it too

#: The reason of a record that is lost by an error that nobody foresaw.
FAULT = "exporter_fault"


class Builder(Protocol[Source]):
    """Makes Kafka records of what is handed over."""

    def build(self, source: Source) -> KafkaRecord | None:
        """The record; None for one that must not be sent. Raises `ConversionError` where there cannot be one."""

    def letter(self, source: Source) -> KafkaRecord:
        """The dead letter of one that cannot be built: as much of it as can be kept, redacted."""


def built(source: Source, builder: Builder[Source]) -> tuple[KafkaRecord | None, str]:
    """The record, or the dead letter and why it is one, or nothing and why."""
    try:
        return builder.build(source), ""
    except ConversionError as error:
        reason = f"conversion:{error.field}"
        try:
            letter = builder.letter(source)
            note(reason, "a log record cannot be delivered: %s (%s)", error, describe(letter))
            return letter, reason  # noqa: TRY300 - whatever fails in here is below
        except Exception as fault:  # noqa: BLE001 - as below
            error_of_ours: Exception = fault
    except Exception as fault:  # noqa: BLE001 - a fault of ours must cost no other record, and none unseen
        error_of_ours = fault
    if is_interruption(error_of_ours):
        raise error_of_ours
    note_fault(error_of_ours)
    return None, FAULT


def note_fault(fault: Exception) -> None:
    """Say that a record is lost by an error that nobody foresaw."""
    note(kind_of_fault(fault), "a log record is dropped by a fault of the exporter's: %r", fault)
