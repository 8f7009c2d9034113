"""Records on their way: one entry for each, and what those that were handed over together wait for."""

from __future__ import annotations

from confluent_kafka import KafkaError, Message

from otel_kafka_exporter.kafka import EnoughServedError, Reports
from otel_kafka_exporter.outbox import Place
from otel_kafka_exporter.process import DeliveryOutcome, monotonic
from otel_kafka_exporter.records import KafkaRecord

from .steps import State

#: A member is looked up by its enum's own Python code before Python 3.12: those of the usual way are held.
_AT_HAND = State.AT_HAND


class Batch:
    """Records that were handed over together, by a caller that waits for their outcomes."""

    __slots__ = ("failed", "open", "taken")

    def __init__(self) -> None:
        self.taken = 0  # counted as accepted
        self.open = 0  # in flight yet
        self.failed = 0  # dropped

    def take(self) -> None:
        """One of them is counted as accepted, and in flight."""
        self.taken += 1
        self.open += 1

    def settle(self, outcome: DeliveryOutcome) -> None:
        """One of them is at rest."""
        self.tell(outcome)
        self.open -= 1
        self.failed += outcome is DeliveryOutcome.DROPPED

    def tell(self, outcome: DeliveryOutcome) -> None:
        """The outcome of one of them, just before it is counted. Told once more after Ctrl-C in the middle of that."""

    def goes_on_without_probe(self) -> bool:
        """One of them tells whether its partition is back, which may take long; whether its caller goes on without it.

        Then it has failed, as far as that caller knows.
        """
        self.settle(DeliveryOutcome.DROPPED)
        return True


class Entry:
    """A record on its way, from the call that hands it over, or from the outbox, to where it comes to rest.

    Attributes:
        record: it.
        state: where it is, as of `steps`.
        since: when it was given to librdkafka, or is about to be, by the monotonic clock.
        place: where in the outbox it is, if it is.
        settled: whether its caller need not wait for it any more: it is at rest.
        number: its place in the order of hand-over, in this process.
        partition: the one that it was sent to by our choice; -1 where its key decides.
        group: which others it may be sent beside, after a refusal; 0 for any.
        alone: whether it was sent with no other record beside it, so that a refusal is its own.
        trial: whether its delivery tells that a topic is open that was closed.
        batch: whose caller waits for it.
        client: the number of the client that it was given to.
        reports: collects its reports.
    """

    __slots__ = (
        "alone", "batch", "client", "group", "number", "partition", "place", "record", "reports", "settled", "since",
        "state", "trial",
    )  # fmt: skip

    def __init__(
        self,
        record: KafkaRecord,
        number: int,
        since: float,
        place: Place | None,
        batch: Batch | None,
        reports: Reports[Entry],
    ) -> None:
        self.record = record
        self.number = number
        self.since = since
        self.place = place
        self.batch = batch
        self.reports = reports
        self.state = _AT_HAND
        self.settled = False
        self.partition = -1
        self.group = 0
        self.client = 0
        self.alone = False
        self.trial = False

    def report(self, error: KafkaError | None, message: Message) -> None:
        """What librdkafka calls with the delivery report.

        Raises:
            EnoughServedError: the round has lasted long enough; this report is among those of it.
        """
        reports = self.reports
        reports.collected.append((self, error, message))
        if monotonic() > reports.ends_at:
            raise EnoughServedError
