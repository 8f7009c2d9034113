"""What can go wrong, as exceptions.

    OtelKafkaError
    ├── SettingsError     a setting is missing, malformed or contradicts another     (also a ValueError)
    ├── ConversionError   a log record cannot become an envelope; names the field    (also a ValueError)
    ├── DecodeError       bytes are not an envelope; names the position              (also a ValueError)
    ├── OutboxError       the outbox cannot keep a record; says why
    ├── DeliveryError     an event that somebody waits for was dropped or dead-lettered
    ├── DeliveryTimeout   it was not acknowledged in time                            (also a TimeoutError)
    └── NoPipelineError   nothing in this process delivers to Kafka

None of them reaches an application's logging calls: `SettingsError` is raised where an exporter is made,
`DecodeError` where a reader decodes, the last three where `wait=` asks for them; a `ConversionError` or an
`OutboxError` costs its own record only, which is then accounted for.
"""

from __future__ import annotations

from typing import Literal

from .process import DeliveryOutcome


class OtelKafkaError(Exception):
    """The base of this package's exceptions."""


class SettingsError(OtelKafkaError, ValueError):
    """A setting cannot be used: says where it was set, what was expected, what was got, and what to do."""


class ConversionError(OtelKafkaError, ValueError):
    """A log record cannot become an envelope.

    Attributes:
        field: the attribute or field at fault, as the application knows it, e.g. `omni.audit.outcome`.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class DecodeError(OtelKafkaError, ValueError):
    """Bytes from a topic are not an envelope: says what was expected and where it was missed."""


class OutboxError(OtelKafkaError):
    """The outbox cannot keep a record: says what was expected, what was got, and what to do.

    Attributes:
        reason: as it is counted: `outbox_full`, or `outbox_unavailable` where its directory cannot be used.
    """

    def __init__(self, reason: Literal["outbox_full", "outbox_unavailable"], problem: str) -> None:
        super().__init__(problem)
        self.reason = reason


class DeliveryTimeout(OtelKafkaError, TimeoutError):  # noqa: N818 - the name is what users know from TimeoutError
    """No broker has acknowledged an event in the time that its caller gave; it is still accounted for.

    Attributes:
        event_id: the event's.
        spooled: whether it is in the outbox, and so survives this process and is delivered later. Otherwise it is in
            memory, on its way, and may be delivered yet; or OpenTelemetry's batch processor still holds it.
    """

    def __init__(self, event_id: str, problem: str, *, spooled: bool) -> None:
        super().__init__(f"event {event_id}: expected the broker's acknowledgement{problem}")
        self.event_id = event_id
        self.spooled = spooled


class DeliveryError(OtelKafkaError):
    """An event whose receipt somebody waits for will not be delivered.

    Attributes:
        outcome: `DeliveryOutcome.DROPPED` or `DeliveryOutcome.DEAD_LETTERED`.
        reason: as it is counted; `emit_failed`, which nobody counts, where OpenTelemetry has not taken it.
    """

    def __init__(self, event_id: str, outcome: DeliveryOutcome, reason: str) -> None:
        super().__init__(f"event {event_id}: expected to be delivered, was {outcome.value}, because of {reason}")
        self.outcome = outcome
        self.reason = reason


class NoPipelineError(OtelKafkaError):
    """A receipt is asked for in a process that has no exporter of this package."""
