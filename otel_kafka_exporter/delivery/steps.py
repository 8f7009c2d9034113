"""The states of a record, and the steps between them: one table. Pure: no lock, thread or client.

`state` takes the steps, under its lock; `ARCHITECTURE.md` shows the table as a picture, which a test holds against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Literal

#: What `DeliveryStats` counts.
Count = Literal["in_flight", "spooled", "delivered", "dead_lettered", "dropped"]


class State(IntEnum):
    """Where a record is."""

    AT_HAND = 1  # in memory: handed over just now, or back from librdkafka, and to be decided over
    SENT = 2  # librdkafka has it
    LATE = 3  # librdkafka has it, and it waits in the outbox in case that comes to nothing
    RECALLED = 4  # it was late, or waited, and is at hand
    WAITING = 5  # in the outbox alone
    DELIVERED = 6
    DEAD_LETTERED = 7
    DROPPED = 8


class Event(IntEnum):
    """What happens to it."""

    SEND = 1  # it is given to librdkafka
    NO_ROOM = 2  # which has no room for it
    ACKNOWLEDGED = 3
    OVERDUE = 4  # it has no report in time, and is written down
    RETURNED = 5  # it comes back: refused, given up by librdkafka, or taken back
    KEPT = 6  # it is put into the outbox
    REFUSED = 7  # no broker takes it
    LOST = 8  # it cannot be kept
    EVICTED = 9  # its row had to give way


#: By which count a state is told to users.
COUNTED_AS: Mapping[State, Count] = {
    State.AT_HAND: "in_flight",
    State.SENT: "in_flight",
    State.LATE: "spooled",
    State.RECALLED: "spooled",
    State.WAITING: "spooled",
    State.DELIVERED: "delivered",
    State.DEAD_LETTERED: "dead_lettered",
    State.DROPPED: "dropped",
}

TABLE: Mapping[tuple[State, Event], State] = {
    (State.AT_HAND, Event.SEND): State.SENT,
    (State.AT_HAND, Event.KEPT): State.WAITING,
    (State.AT_HAND, Event.REFUSED): State.DEAD_LETTERED,
    (State.AT_HAND, Event.LOST): State.DROPPED,
    (State.SENT, Event.ACKNOWLEDGED): State.DELIVERED,
    (State.SENT, Event.OVERDUE): State.LATE,
    (State.SENT, Event.NO_ROOM): State.AT_HAND,
    (State.SENT, Event.RETURNED): State.AT_HAND,
    (State.LATE, Event.ACKNOWLEDGED): State.DELIVERED,
    (State.LATE, Event.EVICTED): State.SENT,
    (State.LATE, Event.NO_ROOM): State.RECALLED,
    (State.LATE, Event.RETURNED): State.RECALLED,
    (State.RECALLED, Event.SEND): State.LATE,
    (State.RECALLED, Event.KEPT): State.WAITING,
    (State.RECALLED, Event.REFUSED): State.DEAD_LETTERED,
    (State.RECALLED, Event.LOST): State.DROPPED,
    (State.WAITING, Event.SEND): State.LATE,
    (State.WAITING, Event.LOST): State.DROPPED,
}

#: The table as a step needs it: the state after it, and how the states before and after it are counted.
STEPS: Mapping[tuple[State, Event], tuple[State, Count, Count]] = {
    (before, event): (after, COUNTED_AS[before], COUNTED_AS[after]) for (before, event), after in TABLE.items()
}

#: What librdkafka has, and what is in memory without it.
WITH_CLIENT = frozenset({State.SENT, State.LATE})
AT_HAND = frozenset({State.AT_HAND, State.RECALLED})


def picture() -> str:
    """The table as text, a line for each step."""
    return "\n".join(f"{_text(state):>9} --{_text(event)}--> {_text(after)}" for (state, event), after in TABLE.items())


def _text(name: IntEnum) -> str:
    return name.name.lower().replace("_", " ")
