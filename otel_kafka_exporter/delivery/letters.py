"""Dead letters: records as evidence of what no broker took."""

from __future__ import annotations

import hashlib
import json
import time

from otel_kafka_exporter.outbox import encode_row
from otel_kafka_exporter.records import KafkaRecord

_CUT = b'{"otel.truncated":'
#: A byte takes up to six in JSON (an escape), and what tells of the cut takes some as well.
_LONGEST_ESCAPE, _OVERHEAD = 6, 200


def letter_row(record: KafkaRecord, reason: str, most_bytes: int) -> tuple[bytes, bool]:
    """A dead letter as a row of the outbox, and whether its value had to be cut.

    Args:
        record: what no broker takes.
        reason: why.
        most_bytes: what a row may take; of a larger one the beginning is kept, with size and SHA-256 of the whole.
    """
    row = encode_row(record, reason, time.time_ns())
    if len(row) <= most_bytes:
        return row, False
    room = max(0, most_bytes - (len(row) - len(record.value)) - _OVERHEAD) // _LONGEST_ESCAPE
    digest = hashlib.sha256(record.value).hexdigest()
    cut = {
        "otel.truncated": {"bytes": len(record.value), "sha256": digest},
        "beginning": record.value[:room].decode(errors="replace"),
    }
    return encode_row(
        record._replace(value=json.dumps(cut, separators=(",", ":")).encode()), reason, time.time_ns()
    ), True


def is_cut(record: KafkaRecord) -> bool:
    """Whether a dead letter is not the whole record, and so is nothing to send."""
    return record.value.startswith(_CUT)
