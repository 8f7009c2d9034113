"""One process's librdkafka producer: made when the first record is there, made anew in a forked child.

Nothing in here decides what becomes of a record. Failures come through three channels, and delivery listens to all:
`produce` raises `BufferError` when the local queue is full, `produce` raises `KafkaException` when librdkafka refuses
a record at once, and everything else arrives in the delivery report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

# The client imports it when it is first asked for topics, in a thread of ours: a fork could leave that half done.
import confluent_kafka.admin  # noqa: F401
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.cimpl import Producer

from otel_kafka_exporter.process import (
    ForkGate,
    RLock,
    after_fork_in_child,
    get_ident,
    is_interruption,
    locked,
    monotonic,
    note_librdkafka,
    warn,
)
from otel_kafka_exporter.records import MAY_LACK_FRAME, KafkaRecord, lacks_frame

from .client import Client
from .early import OnReport
from .reports import EnoughServedError, Reports
from .secret_properties import secrets_of, without
from .trouble import Trouble

if TYPE_CHECKING:
    from confluent_kafka import ThrottleEvent

#: Once the cluster has answered this often, an idempotent producer has its ID, and the first record goes at once.
#: Without it waits for half a second, which is librdkafka's fixed interval between two tries to get one.
_ANSWERS_UNTIL_WARM = 2
#: A client whose very first steps end in a fatal error is replaced once; the next one's error is the cluster's answer.
_CLIENTS_TRIED = 2
_NOT_MADE = "the client is not made yet, as where oauth_cb takes long"
#: How long a shutdown waits for the client's end, which takes some milliseconds unless a name resolution hangs.
_CLOSE_SECONDS = 0.5
#: librdkafka's own `batch.size`.
_BATCH_BYTES = 1_000_000


class Frames(Protocol):
    """What goes before the values of a topic."""

    def frame(self, topic: str) -> bytes | None:
        """It; None while it is not known. Asks for it then, and returns at once."""

    def pending(self, topic: str) -> bool:
        """Whether it was asked for, and no answer has come yet."""

    def wait(self, topic: str, seconds: float) -> str | None:
        """Wait for the first answer, at most for so long; None when it is known, else why it is not."""


class NoSchemaIdError(Exception):
    """A record cannot be framed, because the ID of its schema is not known yet."""


class KafkaProducer:
    """librdkafka's producer, lazily and per process.

    Args:
        config: librdkafka's configuration, as `producer_config.librdkafka_config` makes it.
        frames: of records that are to be framed; None where there are none of these.
    """

    def __init__(self, config: Mapping[str, Any], frames: Frames | None = None) -> None:
        self._config = config
        self._secrets = secrets_of(config)
        self._frames = frames
        self._client: Client | None = None
        self._lock = RLock()  # a signal handler may log while its own thread is in here
        self._closed = False
        self._caught_up = 0.0  # when the latest round began that served all that there was
        #: Those of this process.
        self.reports: Reports[Any] = Reports()
        # Closed from the making of a client, which resolves a broker's name, to its first answers.
        self._fork_gate = ForkGate()
        #: Counts the clients of this process: who gives one up says which one it means.
        self.client_number = 0
        #: What librdkafka last told of its connections.
        self.trouble = Trouble()
        self._cluster_id: str | None = None
        #: Whether the present client has had its answers.
        self.warm = False
        after_fork_in_child(self._after_fork)

    def produce(self, record: KafkaRecord, on_report: OnReport, partition: int = -1) -> None:
        """Hand a record to librdkafka, and return at once.

        Args:
            record: it.
            on_report: called with its report.
            partition: where it goes; its key decides unless given.

        Raises:
            BufferError: the local queue is full.
            KafkaException: librdkafka refuses the record.
            RuntimeError: the producer is closed. That it cannot be made is reported.
            NoSchemaIdError: the record is to be framed, and the frame is not known.
        """
        topic, key, value, headers, milliseconds = record[:5]
        if value[:1] == MAY_LACK_FRAME and lacks_frame(record):
            frame = None if self._frames is None else self._frames.frame(topic)
            if frame is None:
                raise NoSchemaIdError(f"no schema ID is known for the topic {topic}")
            value = frame + value
        client = self._client
        if client is None or self._closed:
            client = self._current()
        client.produce(topic, value, key, partition, on_report, None, milliseconds, headers)

    def await_frame(self, record: KafkaRecord, deadline: float) -> None:
        """Wait for the answer by which a record can be framed, if it has to be.

        Args:
            record: it.
            deadline: until when, by the monotonic clock.
        """
        if self._frames is not None and lacks_frame(record) and (left := deadline - monotonic()) > 0:
            self._frames.wait(record.topic, left)

    def frame_is_near(self, topic: str) -> bool:
        """Whether a topic's frame is known, or its first answer may still come."""
        return self._frames is not None and (self._frames.frame(topic) is not None or self._frames.pending(topic))

    def flush(self, seconds: float) -> bool:
        """Serve delivery reports until every record has its own, at most for so long; linger does not apply meanwhile.

        Returns:
            Whether there is a client to wait for. One that fails in here is given up.
        """
        return self._serve_reports(lambda client, left: client.flush(left), max(0.0, seconds))

    def catch_up(self, seconds: float) -> bool:
        """Serve the reports that are there, at most for so long; whether there are none left."""
        deadline = monotonic() + seconds
        while True:
            client = self._client
            if client is None or client.is_inside():
                return client is None
            begun = monotonic()
            served = self._serve_reports(lambda client, left: client.poll(left), 0.0)
            if not served or self._caught_up >= begun:
                return served
            if monotonic() >= deadline:
                return False

    def poll(self, seconds: float) -> bool:
        """Serve delivery reports as they come, at most for so long; returns as `flush` does."""
        return self._serve_reports(lambda client, left: client.poll(left), max(0.0, seconds))

    def is_inside(self) -> bool:
        """Whether this thread is in a call to the client: in a report's callback, or a signal handler within one.

        Another call would abort the process there.
        """
        client = self._client
        return client is not None and get_ident() in client.inside  # as `Client.is_inside`, without its call

    def _serve_reports(self, serve: Callable[[Producer, float], object], seconds: float) -> bool:
        number = self.client_number  # first: one that is newer than its number is not given up for what this one did
        client = self._client
        if client is None or client.is_inside():
            return False
        begun = self.reports.begin_round(seconds)
        if not client.is_open:
            if not client.ready(seconds):
                self._caught_up = begun
                return not client.is_settled
            seconds = max(0.0, begun + seconds - monotonic())
            begun = self.reports.begin_round(seconds)
        try:
            with client.used() as producer:
                serve(producer, seconds)
        except EnoughServedError:
            return True
        except SystemError as error:
            interruption = _interruption(error)
            if interruption is not None:
                raise interruption from error
            self._failed(number, error)
            return False
        except Exception as error:
            # A fatal error comes as KafkaException or RuntimeError. Our callbacks raise nothing: anything else is a
            # signal handler's, and has lost its traceback on its way through the client, by which it could be told.
            if is_interruption(error) or not isinstance(error, (KafkaException, RuntimeError)):
                raise
            self._failed(number, error)
            return False
        self._caught_up = begun
        return True

    def _failed(self, number: int, error: Exception) -> None:
        if self.client_number == number and not self._closed:
            warn("producer_fatal", "the Kafka producer failed and is made anew: %s", error)
        self.renew(number)

    def was_broken_off(self) -> bool:
        """Whether a call to the present client has ended by an exception: a report may have been lost.

        As it is where a signal handler raises in the moment in which the report's callback begins.
        """
        client = self._client
        return client is not None and client.was_broken_off

    def lacks_reports(self, number: int, open_: int) -> bool:
        """Whether that client has fewer records than are open, so that reports were lost.

        Args:
            number: the client.
            open_: how many of its records have had no report. No more are produced meanwhile.
        """
        client = self._client
        return client is not None and self.client_number == number and client.lacks(open_)

    def purge(self, number: int) -> None:
        """Take back every record of that client that has no report yet; their reports say so."""
        client = self._client  # first: it is of that number then, or of one before it
        if client is not None and self.client_number == number and not client.is_inside():
            client.purge()

    def reachable(self, topic: str, seconds: float) -> bool:
        """Whether the cluster answers within so many seconds. The first time, this also warms the producer.

        Args:
            topic: the one to ask for, because a cluster's whole list of topics can be large; empty when there is none.
            seconds: how long to wait.
        """
        deadline = monotonic() + seconds
        if self.is_inside():
            return False
        for _ in range(_CLIENTS_TRIED):
            number = self.client_number
            try:
                client = self._current()
            except (BufferError, RuntimeError):  # all is over, or another thread is making it
                return False
            try:
                return self._warm_up(client, topic, deadline)
            except Exception as error:  # a fatal error comes in many types; there are two tries
                if is_interruption(error):
                    raise
                if not _is_fatal(error):
                    with suppress(RuntimeError), client.used() as producer:
                        self._serve(producer)
                    return False
                self.trouble.learn(without(str(error), self._secrets))
                self.renew(number)
        return False

    def _warm_up(self, client: Client, topic: str, deadline: float) -> bool:
        if not client.ready(deadline - monotonic()):
            if not client.is_settled:
                self.trouble.learn(self.trouble.text or _NOT_MADE)
            return False
        with client.used() as producer:
            for _ in range(_ANSWERS_UNTIL_WARM):
                self._ask(producer, topic, max(0.01, deadline - monotonic()))
            self._serve(producer)
        self.trouble.learn("")
        self.warm = True
        self._fork_gate.open()
        return True

    def cluster_id(self, topic: str, seconds: float) -> str | None:
        """The cluster's own ID; empty where it has none. None where it has not said so, and does not within that time.

        Args:
            topic: the one to ask for, as of `reachable`.
            seconds: how long to wait, where it has not said so yet.
        """
        if self._cluster_id is None and not self.is_inside():
            with suppress(BufferError, KafkaException, RuntimeError, SystemError):
                client = self._current()
                client.ready(seconds)
                with client.used() as producer:
                    self._ask(producer, topic, seconds)
        return self._cluster_id

    def _ask(self, producer: Producer, topic: str, seconds: float) -> Any:
        """The topics that the cluster tells of, which tells its own ID, too."""
        answer = producer.list_topics(topic or None, timeout=seconds)
        self._cluster_id = answer.cluster_id or ""
        return answer.topics

    def partitions(self, topic: str, seconds: float) -> int:
        """How many partitions a topic has, by the cluster's answer within so many seconds; 0 without one."""
        client = self._client
        if client is None or client.is_inside():
            return 0
        with suppress(KafkaException, RuntimeError, SystemError), client.used() as producer:
            found = self._ask(producer, topic, seconds).get(topic)
            return 0 if found is None or found.error is not None else len(found.partitions)
        return 0

    def _serve(self, producer: Producer) -> None:
        """Let librdkafka's errors and log lines out: they come with poll() only."""
        self.reports.begin_round(0.0)
        try:
            producer.poll(0)
        except EnoughServedError:
            pass
        except Exception as error:  # as above
            if is_interruption(error):
                raise
            self.trouble.learn(without(str(error), self._secrets))

    def renew(self, number: int) -> None:
        """Give that client up, unless another thread has, or others keep a lock; the next record gets a new one."""
        # What it had has come back before the next record is handed over, which would overtake it otherwise.
        locked(self.reports.lock, self._renew, lambda _: None, number)

    def _renew(self, number: int) -> None:
        client = locked(self._lock, self._take_client, lambda _: None, number)
        if client is not None:
            client.give_up()
            self.reports.settle()
            self.reports.renewed(self.client_number)

    def _take_client(self, number: int) -> Client | None:
        if self._client is None or self.client_number != number or self._closed:
            return None
        client, self._client = self._client, None
        self.client_number += 1
        self.warm = False
        return client

    @property
    def batch_bytes(self) -> int:
        """How large librdkafka makes a batch, in bytes."""
        return int(self._config.get("batch.size", _BATCH_BYTES))

    def limit_batches(self, size: int) -> None:
        """Have the next client make batches of at most so many bytes, and give the present one up."""
        self._config = {**self._config, "batch.size": size}
        self.renew(self.client_number)

    def close(self) -> None:
        """Take back what is on its way, and be of no further use; waits briefly for the client's end."""
        self._closed = True  # from here on nothing is produced; those who wait go on to serve their reports
        self._end(self._client)
        self._client = None

    @staticmethod
    def _end(client: Client | None) -> None:
        if client is not None:
            client.give_up()
            if client.is_settled:
                client.wait_closed(_CLOSE_SECONDS)

    def _current(self) -> Client:
        client = self._client
        if client is not None and not self._closed:
            return client
        return locked(self._lock, self._make, _others_make)

    def _make(self) -> Client:
        """A client, unless another thread has made one just now. Expects the lock to be held."""
        client = self._client
        if client is None and not self._closed:
            self._fork_gate.close()
            callbacks = {"error_cb": self._on_error, "throttle_cb": self._on_throttle}
            client = self._client = Client(
                {**self._config, **callbacks}, self, self.reports, self._not_made, self._gone
            )
        if client is None or self._closed:
            self._end(client)  # where it was closed meanwhile
            raise RuntimeError("the producer is closed")
        return client

    def _not_made(self, error: Exception) -> None:
        """Why no client could be made."""
        self.trouble.learn(without(str(error), self._secrets), "no_client")

    def _gone(self, client: Client) -> None:
        """What waited for that client has come back: the next record has another one tried."""
        with self._lock:
            if self._client is client:
                self._client = None
                self.client_number += 1
        self._fork_gate.open()

    @property
    def is_being_made(self) -> bool:
        """Whether there is a client soon, and none yet."""
        client = self._client
        return client is not None and not client.is_settled

    def log(self, level: int, message: str, *arguments: object) -> None:
        """librdkafka's log lines, as it hands them to a logger: without the secrets of its configuration."""
        note_librdkafka(level, message, *(without(str(argument), self._secrets) for argument in arguments))

    def _on_error(self, error: KafkaError) -> None:
        self.trouble.hear(error, without(error.str(), self._secrets))

    def _on_throttle(self, event: ThrottleEvent) -> None:
        self.trouble.slow_down(event.throttle_time)
        if (theirs := self._config.get("throttle_cb")) is not None:
            theirs(event)

    def _after_fork(self) -> None:
        self._lock = RLock()
        self.reports = Reports()
        self._fork_gate.open()
        self._client = None  # the inherited one accepts records and delivers none: it is never called again
        self.warm = False
        self.trouble = Trouble()
        self._cluster_id = None


def _others_make() -> Client:
    """A finalizer within that may wait for what this thread holds: the record has no room."""
    raise BufferError("another thread is making the client")


def _is_fatal(error: Exception) -> bool:
    """Whether a client is of no further use. A plain failure is a KafkaException that does not say so."""
    first = error.args[0] if error.args else None
    return not isinstance(error, KafkaException) or (isinstance(first, KafkaError) and first.fatal())


def _interruption(error: SystemError) -> BaseException | None:
    """What a signal handler has raised within a callback, and confluent-kafka has lost under Python 3.10 and 3.11.

    There an exception of C code has no object yet, and its callbacks make a SystemError of that. Ctrl-C has no value,
    and of what `sys.exit()` was given only the type is left: the exit is not swallowed, and is no success.
    """
    text = str(error)
    if "returned NULL without setting an exception" in text:
        return KeyboardInterrupt()
    if "is not a BaseException subclass" in text:
        return SystemExit(None if "NoneType" in text else 1)
    return None
