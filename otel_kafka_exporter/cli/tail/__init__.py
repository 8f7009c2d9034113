"""`otel-kafka tail`: the records in the topics as a person reads logs, or as JSON.

The command is in `command`; records come by `reading`, are chosen by `selection`, ordered by `ordering`, and shown by
`rendering` and `output`. No group is joined, nothing is committed, nothing is created.
"""

from .command import show_outbox, tail
from .options import Shown, shown_options
from .scanning import Tally

__all__ = ["Shown", "Tally", "show_outbox", "shown_options", "tail"]
