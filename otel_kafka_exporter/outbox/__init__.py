"""The journal on the disk: rows are appended, drained, adopted from dead processes, kept as dead letters.

Delivery imports it; `files`, for operators, is imported by its name. It knows nothing of Kafka.
Held here: a row whose append returned survives SIGKILL; what it loses (evicted, damaged) it counts.
"""

from .destination import Claim, Destination
from .outbox import Adopter, Fate, Front, Judge, OnLoss, Outbox
from .rows import decode_row, encode_row, topic_of
from .segment import DONE, SENT, WAITING, Segment
from .stream import Place, Stream

__all__ = [
    "DONE",
    "SENT",
    "WAITING",
    "Adopter",
    "Claim",
    "Destination",
    "Fate",
    "Front",
    "Judge",
    "OnLoss",
    "Outbox",
    "Place",
    "Segment",
    "Stream",
    "decode_row",
    "encode_row",
    "topic_of",
]
