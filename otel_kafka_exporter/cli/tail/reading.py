"""Partitions of topics, read from one offset to another or on and on: no group is joined, nothing is committed."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from otel_kafka_exporter.cli.admin import Admin, RefusedError
from otel_kafka_exporter.cli.question import Question
from otel_kafka_exporter.process import monotonic

from .ordering import Place

if TYPE_CHECKING:
    from confluent_kafka.admin._metadata import ClusterMetadata
    from typing_extensions import Self

#: Ctrl-C is noticed between two calls of librdkafka.
_SLICE_SECONDS = 0.25
_BATCH = 2_000
_KEPT_ERRORS = 100  # they come many times a second
_ANSWER_SECONDS = 10.0
_SILENCE_SECONDS = 30.0
# librdkafka's, which says nothing to a reader, or the wrong thing: there is no group, but always such a connection.
_INTERNAL = re.compile(r"^GroupCoordinator: | \(after \d+ms in state .*\)$")
_READING: dict[str, Any] = {
    "group.id": "otel-kafka",  # librdkafka insists; no group is joined, since partitions are assigned
    "client.id": "otel-kafka",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",  # a partition may lose its oldest while it is read
    "enable.partition.eof": True,
    "allow.auto.create.topics": False,
    "fetch.wait.max.ms": 100,
    "fetch.error.backoff.ms": 100,
    "fetch.queue.backoff.ms": 10,  # of a full queue; the default is a second, in which nothing is fetched
    "queued.max.messages.kbytes": 32_768,
    "reconnect.backoff.max.ms": 1_000,
    "log_level": 0,  # what it would write to stderr comes to error_cb too
}
# No use in trying again: no right, a wrong password, a certificate that is not trusted.
_REFUSED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,  # noqa: SLF001 - public, in spite of its spelling
    KafkaError._SSL,  # noqa: SLF001 - as above
)
_T = TypeVar("_T")


class ReaderError(Exception):
    """Kafka cannot be read: says what is wrong.

    Attributes:
        at_start: whether nothing was read yet.
    """

    def __init__(self, problem: str, *, at_start: bool) -> None:
        super().__init__(problem)
        self.at_start = at_start


class Ends(NamedTuple):
    """Where a partition begins, and where it ended when it was asked for."""

    low: int
    high: int


class Batch(NamedTuple):
    """What was read at once.

    Attributes:
        messages: records, of any partitions.
        reached: partitions that had nothing more behind these.
    """

    messages: list[Message]
    reached: list[Place]


class Reader:
    """A consumer of partitions.

    Args:
        servers: the cluster's addresses.
        connection: librdkafka's properties for the connection to it.
        say: is given a line when the cluster goes away, and when it is back.
    """

    def __init__(self, servers: str, connection: Mapping[str, Any], say: Callable[[str], None]) -> None:
        self._servers = servers
        self._say = say
        self._problem = ""
        self._away = False
        self._is_reading = False
        self._is_refused = False
        self._heard = monotonic()
        self._asked: Question[Any] | None = None
        self._admin = Admin(servers, connection, _ANSWER_SECONDS)
        self._look: Question[ClusterMetadata] | None = None
        # Ctrl-C raises where Python code runs next; in a callback's it would be a SystemError. An append is none.
        self._errors: deque[KafkaError] = deque(maxlen=_KEPT_ERRORS)
        config = {**connection, **_READING, "bootstrap.servers": servers, "error_cb": self._errors.append}
        self._consumer = Consumer(config)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._asked is None or not self._asked.is_open:  # else a thread is in it, and ends with the process
            self._consumer.close()

    def topics(self) -> dict[str, list[int]]:
        """All topics, and their partitions.

        Raises:
            ReaderError: no broker answers.
        """
        try:
            return _partitions(self._admin.metadata())
        except RefusedError as error:
            refused = error.code in _REFUSED
            text = f"Kafka at {self._servers} refuses: {error}" if refused else self._silent(error)
            raise ReaderError(text, at_start=True) from None

    def look_for_topics(self) -> dict[str, list[int]] | None:
        """The same while following, where nothing waits for the answer: None until one of the next calls has it."""
        if self._look is None:
            self._look = Question(partial(self._admin.client.list_topics, timeout=self._admin.seconds))
        if self._look.is_open:
            return None
        look, self._look = self._look, None
        try:
            found = _partitions(look.answer(self._admin.client.poll))
        except KafkaException:
            return None
        self._is_back()
        return found

    def forget_topic(self, topic: str, places: Iterable[Place]) -> None:
        """Read nothing more of a topic that is not there any more, and say so."""
        self.drop(places)
        self._say(f"topic {topic} does not exist any more, or may not be read; this goes on when it does")

    def ends(self, places: Iterable[Place]) -> dict[Place, Ends]:
        """Where partitions begin and end now.

        Raises:
            ReaderError: no broker answers, or it refuses.
        """
        places = list(places)
        lows = self._offsets(places, _BEGINNING)
        highs = self._offsets(places, _END)
        return {place: Ends(lows[place], highs[place]) for place in places}

    def since(self, ends: Mapping[Place, Ends], milliseconds: int) -> dict[Place, int]:
        """The offsets of the first records that are not before a time.

        Raises:
            ReaderError: no broker answers, or it refuses.
        """
        places = [place for place, (low, high) in ends.items() if low < high]
        found = self._offsets(places, milliseconds)
        starts = {place: end.high for place, end in ends.items()}
        starts.update({place: at for place, at in found.items() if at >= 0})
        without = [place for place in places if found[place] < 0]
        # None at all, not even since 1970: this broker, an embedded one, knows no times. Then all are read.
        earliest = self._offsets(without, 1) if without else {}
        return starts | {place: ends[place].low for place, at in earliest.items() if at < 0}

    def assign(self, starts: Mapping[Place, int]) -> None:
        """Read these partitions, and no others, from these offsets."""
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in starts.items()])
        self._heard = monotonic()
        self._is_reading = True

    def add(self, starts: Mapping[Place, int]) -> None:
        """Read these partitions too."""
        self._consumer.incremental_assign([TopicPartition(*place, offset) for place, offset in starts.items()])

    def drop(self, places: Iterable[Place]) -> None:
        """Read nothing more of these."""
        self._consumer.incremental_unassign([TopicPartition(*place) for place in places])

    def pause(self, places: Iterable[Place]) -> None:
        """Read nothing of these until they are resumed."""
        self._consumer.pause([TopicPartition(*place) for place in places])

    def resume(self, places: Iterable[Place]) -> None:
        """Go on with these."""
        self._consumer.resume([TopicPartition(*place) for place in places])

    def read(self, seconds: float) -> Batch:
        """What is there, or comes within so many seconds.

        Raises:
            ReaderError: it may not be read.
        """
        first = self._consumer.poll(min(seconds, _SLICE_SECONDS))
        self._note_errors()
        if first is None:
            return Batch([], [])
        messages: list[Message] = []
        reached: list[Place] = []
        for message in (first, *self._consumer.consume(_BATCH, 0)):
            error = message.error()
            if error is None:
                messages.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - as above
                reached.append((message.topic() or "", message.partition() or 0))
            elif error.code() in _REFUSED:
                raise ReaderError(f"{message.topic() or self._servers}: {error.str()}", at_start=False)
            else:
                self._problem = error.str()  # it passes, and librdkafka goes on
        if messages or reached:
            self._is_back()
        return Batch(messages, reached)

    def check_progress(self) -> None:
        """For who cannot wait for ever.

        Raises:
            ReaderError: nothing has come for long.
        """
        silent = monotonic() - self._heard
        if silent > _SILENCE_SECONDS:
            why = f": {self._problem}" if self._problem else ""
            raise ReaderError(f"Kafka at {self._servers} has sent nothing for {silent:.0f} s{why}", at_start=False)

    def _is_back(self) -> None:
        self._heard = monotonic()
        if self._away:
            self._away = False
            self._say(f"Kafka at {self._servers} answers again")

    def _offsets(self, places: list[Place], at: int) -> dict[Place, int]:
        """Offsets by a time, or by what stands for the beginning and the end; -1 where there is none."""
        asked = [TopicPartition(*place, at) for place in places]
        if not asked:
            return {}
        found = self._ask(lambda seconds: self._consumer.offsets_for_times(asked, timeout=seconds))
        for each in found:
            if each.error is not None:
                raise ReaderError(f"topic {each.topic} cannot be read: {each.error.str()}", at_start=True)
        return {(each.topic, each.partition): each.offset for each in found}

    def _ask(self, request: Callable[[float], _T]) -> _T:
        """The answer to what is asked before anything is read."""
        deadline = monotonic() + self._admin.seconds
        while True:
            self._asked = question = Question(partial(request, max(0.0, deadline - monotonic())))
            try:
                return question.answer(time.sleep)
            except KafkaException as error:
                self._consumer.poll(0)  # brings errors that say more; nothing is assigned yet
                self._note_errors()
                problem = error.args[0]
                why = self._problem or problem.str()
                if self._is_refused or problem.code() in _REFUSED:
                    raise ReaderError(f"Kafka at {self._servers} refuses: {why}", at_start=True) from None
                if monotonic() > deadline:
                    raise ReaderError(self._silent(why), at_start=True) from None

    def _silent(self, why: object) -> str:
        return f"no Kafka answers at {self._servers} within {self._admin.seconds:g} s: {why}"

    def _note_errors(self) -> None:
        """See what librdkafka complains of, and say it once when no broker is left."""
        while self._errors:
            error = self._errors.popleft()
            # That all brokers are down follows a line on each of them that says why.
            if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - as above
                if self._is_reading and not self._away:
                    self._away = True
                    self._say(f"Kafka at {self._servers} does not answer ({self._problem}); this goes on when it does")
            elif error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:  # no group is needed
                self._problem = _INTERNAL.sub("", error.str())
                self._is_refused |= error.code() in _REFUSED


def _partitions(cluster: ClusterMetadata) -> dict[str, list[int]]:
    return {name: sorted(topic.partitions) for name, topic in cluster.topics.items() if topic.error is None}


# What a time may be instead, in Kafka's protocol.
_BEGINNING, _END = -2, -1
