"""For tests of code that logs through this package: what it sends, captured in memory or in a Kafka that starts in
milliseconds, and faults of that Kafka.

The pytest fixtures `captured_envelopes` and `embedded_kafka` come with the installed package; without pytest,
`capture_envelopes()` and `EmbeddedKafka` are context managers.
"""

from ._capture import capture_envelopes
from ._captured import CapturedEnvelopes
from ._embedded_kafka import EmbeddedKafka

__all__ = ["CapturedEnvelopes", "EmbeddedKafka", "capture_envelopes"]
