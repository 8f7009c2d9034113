"""All that delivers in this process, and how many records it has in which state, taken together."""

from __future__ import annotations

import weakref
from collections import Counter
from types import MappingProxyType
from typing import Protocol

from .outcome import DeliveryStats, OutboxUsage


class Observed(Protocol):
    """What can be asked how many records it has."""

    def stats(self) -> DeliveryStats: ...

    def outbox_usage(self) -> OutboxUsage | None: ...


_deliveries: weakref.WeakSet[Observed] = weakref.WeakSet()


def count_in(delivery: Observed) -> None:
    """Have a delivery's records among those of the process, for as long as it lives."""
    _deliveries.add(delivery)


def stats() -> DeliveryStats:
    """How many records of this process are in which state: of all its exporters, processors and publishers together.

    This is the way to them where OpenTelemetry's own set-up has made the exporter, and nobody holds it. One that is
    shut down counts until it is gone, and in a forked child all counts begin at zero.
    """
    found = [delivery.stats() for delivery in list(_deliveries)]
    dropped: Counter[str] = Counter()
    for each in found:
        dropped.update(each.dropped)
    return DeliveryStats(
        accepted=sum(each.accepted for each in found),
        delivered=sum(each.delivered for each in found),
        spooled=sum(each.spooled for each in found),
        dead_lettered=sum(each.dead_lettered for each in found),
        in_flight=sum(each.in_flight for each in found),
        dropped=MappingProxyType(dict(dropped)),
        truncated=sum(each.truncated for each in found),
    )
