"""How a record's outcome is told: by a call for each record, in rounds that end in time."""

from __future__ import annotations


class EnoughServedError(Exception):
    """A report's callback raises it to end a round of reports; librdkafka keeps the rest for the next one.

    One call to the client would serve all that are there, be they a hundred thousand, and each of them waits for the
    interpreter beside threads that compute.
    """
