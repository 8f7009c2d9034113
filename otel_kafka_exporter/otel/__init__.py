"""The ways in from OpenTelemetry: exporter, processor, events; and the parts that every way in is made of.

The publisher and the command line import it. Nothing in here decides what becomes of a record.
Held here: nothing raises into the application's log calls or its telemetry's set-up.
"""

from .disk import Disk, TaskLogRecord, are_there
from .emission import SCOPE, context_attributes
from .events import aemit_audit_event, aemit_security_event, emit_audit_event, emit_security_event
from .exporter import KafkaLogExporter
from .pipeline import (
    cleaner_of,
    delivery_of,
    judge_of,
    owner_of,
    producer_of,
    record_builder_of,
    registry_of,
    tell_way,
    topics_of,
)
from .processor import KafkaLogRecordProcessor
from .reach import may_reach_kafka
from .structured import EventFormatter

__all__ = [
    "SCOPE",
    "Disk",
    "EventFormatter",
    "KafkaLogExporter",
    "KafkaLogRecordProcessor",
    "TaskLogRecord",
    "aemit_audit_event",
    "aemit_security_event",
    "are_there",
    "cleaner_of",
    "context_attributes",
    "delivery_of",
    "emit_audit_event",
    "emit_security_event",
    "judge_of",
    "may_reach_kafka",
    "owner_of",
    "producer_of",
    "record_builder_of",
    "registry_of",
    "tell_way",
    "topics_of",
]
