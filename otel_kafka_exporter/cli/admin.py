"""librdkafka's admin client, and what it complains of while it is asked."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from otel_kafka_exporter.process import monotonic

from .question import Question

if TYPE_CHECKING:
    from confluent_kafka.admin._metadata import ClusterMetadata

_KEPT = 100
_SLICE_SECONDS = 0.05
_STATISTICS_MS = 200
_STATE = re.compile(r" \(after \d+ms in state .*\)$")
_FINAL = (KafkaError._AUTHENTICATION, KafkaError._SSL)  # noqa: SLF001 - public, in spite of their spelling
_T = TypeVar("_T")


class RefusedError(Exception):
    """Kafka refuses or does not answer; the text is librdkafka's.

    Attributes:
        code: of `KafkaError`.
        advertised: addresses ("host:port") that the cluster has already given, by its brokers' IDs. With any the
            bootstrap address has answered, and sent the question there.
    """

    def __init__(self, text: str, code: int, advertised: Mapping[int, str] | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.advertised = dict(advertised or {})


class Admin:
    """An admin client with an exporter's way to the cluster.

    Args:
        servers: the cluster's addresses.
        connection: librdkafka's properties of the way to it.
        seconds: how long an answer may take.
        config: more of librdkafka's properties.
    """

    def __init__(
        self, servers: str, connection: Mapping[str, Any], seconds: float, config: Mapping[str, Any] | None = None
    ) -> None:
        self._seconds = seconds
        self._errors: deque[KafkaError] = deque(maxlen=_KEPT)
        # Ctrl-C raises where Python code runs next; in a callback's it would be a SystemError. An append is none.
        self._statistics: deque[str] = deque(maxlen=_KEPT)
        properties: dict[str, Any] = {
            **connection,
            "bootstrap.servers": servers,
            "client.id": "otel-kafka",
            "reconnect.backoff.max.ms": 500,
            "log.connection.close": False,
            "statistics.interval.ms": _STATISTICS_MS,
            "stats_cb": self._statistics.append,
            "error_cb": self._errors.append,
            "log_level": 0,  # what it would write to stderr comes to error_cb too; a logger would be Python code
            **(config or {}),
        }
        self._admin = AdminClient(properties)

    def metadata(self) -> ClusterMetadata:
        """Brokers and topics. Of all topics: to ask for one by its name may make it.

        Raises:
            RefusedError: there is no answer.
        """
        # Once, for as long as it may take: a second question goes to the addresses that brokers give themselves; so
        # does the first, where the client's own has been answered before it.
        question = Question(lambda: self._admin.list_topics(timeout=self._seconds))
        try:
            return question.answer(self._check_refusal)
        except KafkaException as error:
            last: KafkaError = error.args[0]
        # An error may come before the statistics that know of the addresses.
        deadline = monotonic() + 2 * _STATISTICS_MS / 1000
        while not (advertised := self._advertised()) and monotonic() < deadline:
            self._admin.poll(_SLICE_SECONDS)
        # That all brokers are down follows a line on each of them that says why.
        heard = [each for each in self._errors if each.code() != KafkaError._ALL_BROKERS_DOWN]  # noqa: SLF001 - as above
        problem = heard[-1] if heard else last
        raise RefusedError(_STATE.sub("", problem.str()), problem.code(), advertised)

    def _advertised(self) -> dict[int, str]:
        found: dict[int, str] = {}
        for statistics in self._statistics:
            brokers: Mapping[str, Mapping[str, Any]] = json.loads(statistics).get("brokers", {})
            found |= {each["nodeid"]: each["nodename"] for each in brokers.values() if each["source"] == "learned"}
        return found

    def _check_refusal(self, seconds: float) -> None:
        self._admin.poll(seconds)  # brings errors that say more
        final = next((each for each in self._errors if each.code() in _FINAL), None)
        if final is not None:
            raise RefusedError(_STATE.sub("", final.str()), final.code())

    def answers(self, futures: Mapping[Any, Future[_T]]) -> dict[Any, _T | KafkaError]:
        """What became of questions that have a request_timeout."""
        found: dict[Any, _T | KafkaError] = {}
        for name, future in futures.items():
            try:
                found[name] = future.result()  # librdkafka ends each, by its request_timeout
            except KafkaException as error:  # noqa: PERF203 - of some questions
                found[name] = error.args[0]
        return found

    @property
    def client(self) -> AdminClient:
        """For questions; whoever asks has to keep this object until they are answered."""
        return self._admin

    @property
    def seconds(self) -> float:
        """How long an answer may take."""
        return self._seconds
