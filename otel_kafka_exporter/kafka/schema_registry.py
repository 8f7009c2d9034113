"""The frame that Schema Registry clients expect before a value, with the ID of its schema.

A registry may be away, slow, or not know the schema: it is asked in a thread of its own, and until it has answered a
topic has no frame. An ID never changes, so that once is enough.

The frame: https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/#wire-format
"""

from __future__ import annotations

import base64
import math
import struct
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from otel_kafka_exporter.errors import SettingsError
from otel_kafka_exporter.process import (
    OsThread,
    RLock,
    after_fork_in_child,
    is_interruption,
    locked,
    monotonic,
    note,
    own_work,
    pause,
)
from otel_kafka_exporter.records import envelope_pb2 as pb
from otel_kafka_exporter.records import without_userinfo

from .secret_properties import secrets_of, without

#: How long one question takes at most, unless the client's `timeout` says.
_TIMEOUT_SECONDS = 5
#: The least pause between two questions for the same topic.
_PAUSE_SECONDS = 0.5
_LOOK_SECONDS = 0.01
_NOT_REGISTERED = (40401, 40402, 40403)
_RECORD_NAME = pb.Envelope.DESCRIPTOR.full_name
_CREDENTIALS = "basic.auth.user.info"
#: Properties that the client wants as numbers, and the environment has as texts.
_NUMBERS = frozenset({"timeout", "max.retries", "retries.wait.ms", "retries.max.wait.ms", "cache.capacity"})


class SchemaRegistry:
    """Frames by topic, as far as the registry has said.

    Args:
        url: the registry's address, or several with commas.
        config: more properties of confluent-kafka's `SchemaRegistryClient`.
        subject: under which subjects the schema is: `topic`, `record` or `topic_record`, as Confluent's strategies are
            called.
        auto_register: whether the schema is registered where it is not.

    Raises:
        SettingsError: the client is not installed, or refuses its properties.
    """

    def __init__(self, url: str, config: Mapping[str, Any], subject: str, *, auto_register: bool) -> None:
        self.url, credentials = _apart(url)
        if credentials and _CREDENTIALS in config:
            raise SettingsError(
                f"schema_registry_config: expected no {_CREDENTIALS} beside a user in schema_registry_url."
                " Remove one of them."
            )
        # Not in the URL, which the client logs with each request.
        given = {**config, **({_CREDENTIALS: credentials} if credentials else {})}
        self._config = {"timeout": _TIMEOUT_SECONDS, "max.retries": 0, **_typed(given), "url": self.url}
        self._subject = subject
        self._auto_register = auto_register
        self._secrets = secrets_of(given)
        self._frames: dict[str, bytes] = {}
        with own_work(), self._make_client():  # to see whether it can be made
            pass
        self._problems: dict[str, str] = {}  # as of the latest answer
        self._begin()
        after_fork_in_child(self._begin)

    def _begin(self) -> None:
        """Nobody asks yet, in this process."""
        self._lock = RLock()  # a signal handler may log while its own thread is in here
        self._topics: deque[str] = deque()
        self._ask_at: dict[str, float] = {}
        self._asks = False

    def _make_client(self) -> Any:
        try:
            from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise SettingsError(
                f"schema_registry_url: expected the client of Schema Registries, got {error}."
                " Install otel-kafka-exporter[schemaregistry]."
            ) from None
        try:
            return SchemaRegistryClient(self._config)
        except (TypeError, ValueError, OSError) as error:
            raise SettingsError(
                f"schema_registry_config: expected properties of confluent-kafka's SchemaRegistryClient,"
                f" got: {without(str(error), self._secrets)}."
            ) from None

    def frame(self, topic: str) -> bytes | None:
        """What goes before a value of that topic; None while that is not known, and then the registry is asked."""
        found = self._frames.get(topic)
        if found is None:
            self._ask(topic)
        return found

    def pending(self, topic: str) -> bool:
        """Whether a topic's frame was asked for, and no answer has come yet."""
        return topic in self._ask_at and topic not in self._frames and topic not in self._problems

    def wait(self, topic: str, seconds: float) -> str | None:
        """Wait for the first answer on a topic, at most for so long; None when its frame is known, else the problem."""
        deadline = monotonic() + seconds
        while self.frame(topic) is None:
            if not self.pending(topic) or monotonic() >= deadline:
                return self._problems.get(topic, "no answer")
            pause(_LOOK_SECONDS)  # between two looks: any of several topics may be answered
        return None

    def _ask(self, topic: str) -> None:
        locked(self._lock, self._ask_locked, lambda _: None, topic)

    def _ask_locked(self, topic: str) -> None:
        now = monotonic()
        if now < self._ask_at.get(topic, 0.0):
            return
        thread = None
        try:
            self._ask_at[topic] = math.inf  # not before the answer
            self._topics.append(topic)
            if not self._asks:
                self._asks = True
                thread = OsThread(self._look_up)
                thread.start()
        except BaseException as error:
            if thread is None or not thread.is_begun:
                self._begin()
            # Else the interpreter is about to end, or the system has no more threads.
            if not isinstance(error, RuntimeError) or is_interruption(error):
                raise

    def _look_up(self) -> None:
        while (topic := self._next()) is not None:
            self._look_up_one(topic)

    def _next(self) -> str | None:
        with self._lock:
            self._asks = bool(self._topics)
            return self._topics.popleft() if self._topics else None

    def _look_up_one(self, topic: str) -> None:
        try:
            with self._make_client() as client:
                self._frames[topic] = struct.pack(">bIb", 0, self._schema_id(client, topic), 0)
            if self._problems.pop(topic, None):
                note(f"schema_id:{topic}", "the Schema Registry at %s gives an ID for %s now", self.url, topic)
        except Exception as error:  # noqa: BLE001 - HTTP, TLS, OAuth: the libraries have errors of many types
            problem = without(str(error), self._secrets) or type(error).__name__
            self._problems[topic] = problem
            note(f"no_schema_id:{topic}", "the Schema Registry at %s gives no ID for %s: %s", self.url, topic, problem)
        with self._lock:
            self._ask_at[topic] = monotonic() + _PAUSE_SECONDS

    def _schema_id(self, client: Any, topic: str) -> int:
        from confluent_kafka.schema_registry import Schema, SchemaRegistryError  # noqa: PLC0415 - an extra

        subject = self.subject(topic)
        # In the form that Confluent's own serializers for Python register: its comments may change.
        schema = Schema(base64.b64encode(pb.DESCRIPTOR.serialized_pb).decode(), "PROTOBUF")
        if self._auto_register:
            return int(client.register_schema(subject, schema, normalize_schemas=True))
        problem = None
        for each in (schema, Schema(schema_source(), "PROTOBUF")):
            try:
                return int(client.lookup_schema(subject, each, normalize_schemas=True).schema_id)
            except SchemaRegistryError as error:  # noqa: PERF203 - two
                if error.error_code not in _NOT_REGISTERED:
                    raise
                problem = error
        raise LookupError(
            f"expected proto/onex/logging/v1/envelope.proto under the subject {subject}, got: {problem}."
            " Register it (otel-kafka schema register), or set schema_registry_auto_register"
        )

    def subject(self, topic: str) -> str:
        """The subject of a topic's values."""
        return {
            "topic": f"{topic}-value",
            "record": _RECORD_NAME,
            "topic_record": f"{topic}-{_RECORD_NAME}",
        }[self._subject]


def schema_source() -> str:
    """The text of envelope.proto: a file of the installed package, or of the repository."""
    installed = Path(__file__).with_name("envelope.proto")
    in_repository = Path(__file__).parents[2] / "proto" / "onex" / "logging" / "v1" / "envelope.proto"
    return (installed if installed.exists() else in_repository).read_text(encoding="utf-8")


def _apart(urls: str) -> tuple[str, str]:
    """Addresses without a user and a password, and these, as the client has them; empty where there are none."""
    parts = [without_userinfo(url) for url in urls.split(",")]
    given = {userinfo for _, userinfo in parts if userinfo is not None}
    if len(given) > 1:
        raise SettingsError(
            "schema_registry_url: expected the same user and password in each address, got different ones."
            f" Set them once, as {_CREDENTIALS} in schema_registry_config."
        )
    user, _, password = given.pop().partition(":") if given else ("", "", "")
    credentials = f"{unquote(user)}:{unquote(password)}" if user or password else ""
    return ",".join(url for url, _ in parts), credentials


def _typed(config: Mapping[str, Any]) -> dict[str, Any]:
    def typed(key: str, value: Any) -> Any:
        try:
            return float(value) if key in _NUMBERS else value
        except (TypeError, ValueError):
            return value  # the client says what it expects

    return {key: typed(key, value) for key, value in config.items()}
