"""Every record's state, and the one place that decides what happens next to it.

The ways in import it, and nothing below does.
Held here: accepted is the sum of the states; order per key; nothing is taken after close.
"""

from . import receipts
from .delivery import Delivery
from .entry import Batch, Entry
from .letters import is_cut
from .no_delivery import NoDelivery
from .receipts import Receipt, TaskWaiter, ThreadWaiter, expected, receipt_of

__all__ = [
    "Batch",
    "Delivery",
    "Entry",
    "NoDelivery",
    "Receipt",
    "TaskWaiter",
    "ThreadWaiter",
    "expected",
    "is_cut",
    "receipt_of",
    "receipts",
]
