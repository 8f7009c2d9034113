"""What becomes of a record: one vocabulary for everything that delivers, counts or reports.

Every record that is handed over is in one state at every moment, and accepted is the sum of them all:
in flight, delivered, spooled, dead-lettered, or dropped with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple


class DeliveryOutcome(Enum):
    """What has become of a record that is no longer in flight."""

    DELIVERED = "delivered"  # a broker acknowledged it, with all in-sync replicas; final
    SPOOLED = "spooled"  # it is kept in the outbox, to be delivered later
    DEAD_LETTERED = "dead_lettered"  # it is kept in the outbox, with the reason why no broker will take it
    DROPPED = "dropped"  # it is gone, and counted by its reason; final


class Disposition(Enum):
    """What a failed delivery says about the cluster, the topic, or the record."""

    AWAY = "away"  # the cluster is not there or not willing: every record waits
    LATER = "later"  # one partition takes nothing at present: its records wait, the others flow
    BLOCKED = "blocked"  # one topic is closed until an operator mends it: its records wait, the others flow
    DEAD_LETTER = "dead letter"  # no broker will ever take this record


class DeliveryStats(NamedTuple):
    """How many records are in which state; `accepted` is the sum of the others but `truncated`.

    Attributes:
        accepted: handed over so far.
        delivered: acknowledged by a broker.
        spooled: kept in the outbox.
        dead_lettered: kept in the outbox with the reason why no broker will take them.
        in_flight: none of the others yet.
        dropped: gone, by reason.
        truncated: values that were too large and cut, in records of any state.
    """

    accepted: int
    delivered: int
    spooled: int
    dead_lettered: int
    in_flight: int
    dropped: Mapping[str, int]
    truncated: int


class Stranded(NamedTuple):
    """What a dead process has left in the outbox's directory, and the living one does not take over.

    Attributes:
        path: where it is.
        servers: the addresses of the cluster that it is for; empty where that is not known.
        records: how many wait.
        oldest: when the oldest part of them was made, Unix ns.
    """

    path: str
    servers: str
    records: int
    oldest: int


class OutboxUsage(NamedTuple):
    """What an outbox holds.

    Attributes:
        allocated: bytes that it takes on the disk.
        waiting: records that wait, dead letters included.
        oldest: when the oldest part with a waiting record was made, Unix ns; 0 when nothing waits.
        stranded: what dead processes have left beside it, and nobody takes over by itself.
    """

    allocated: int
    waiting: int
    oldest: int
    stranded: tuple[Stranded, ...] = ()
