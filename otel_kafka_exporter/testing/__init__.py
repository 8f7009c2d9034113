"""For tests of code that logs through this package: a Kafka that starts in milliseconds, and what arrived in it.

The pytest fixtures `embedded_kafka` and `captured_envelopes` come with the installed package.
"""

from ._embedded_kafka import EmbeddedKafka

__all__ = ["EmbeddedKafka"]
