"""What the client last told of its connections: why no broker answers, where it is known.

A record that is late says only that no answer came. What is in the way of one librdkafka tells beside that: it names an
error by its code, and most of them by the same, so that the text decides. The texts: librdkafka's `rdkafka_broker.c`,
`rdkafka_transport.c` and `rdkafka_ssl.c`; the rest of them is the operating system's.
"""

from __future__ import annotations

import re

from confluent_kafka import KafkaError

from otel_kafka_exporter.process import monotonic

from .errors import verdict

#: Reasons that say no more than that no answer came.
_VAGUE = frozenset({"delivery_timeout", "broker_unavailable"})
#: For how long an error of one broker says more than that all are down. librdkafka repeats it each half minute.
_FRESH_SECONDS = 60.0
_TLS = re.compile(r"SSL (handshake|routines)|in state SSL_HANDSHAKE")
_REFUSED = re.compile(r"Connect to .* failed: .*refused")


class Trouble:
    """What a client last told.

    Attributes:
        text: it, in librdkafka's words, without secrets; empty where there is nothing.
    """

    def __init__(self) -> None:
        self.text = ""
        self._reason = ""
        self._at = 0.0
        self._throttled = self._throttled_until = 0.0

    def learn(self, text: str, reason: str = "") -> None:
        """Take a text, and the reason that it gives, if it gives one. An empty text ends the trouble."""
        self.text = text
        self._reason = reason
        self._at = monotonic()

    def hear(self, error: KafkaError, text: str) -> None:
        """Take an error that the client tells of, and its text without secrets."""
        # That all brokers are down follows an error of each of them that says why.
        is_known = bool(self.text) and monotonic() - self._at < _FRESH_SECONDS
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not is_known:
            self.learn(text, connection_reason(error.code(), text))

    def slow_down(self, seconds: float) -> None:
        """Take that a broker answers nothing for so long: a quota is used up, and that is how Kafka enforces it."""
        self._throttled = seconds
        self._throttled_until = monotonic() + seconds

    def why(self, reason: str, since: float) -> str:
        """The reason why nothing is acknowledged since some moment: this one, or a closer one that the client told."""
        if reason not in _VAGUE:
            return reason
        if self._throttled_until > since:
            return "throttled"
        return self._reason or reason if self._at > since else reason

    def cause(self, since: float) -> str:
        """What it told since some moment, to be put behind a line; or nothing."""
        if self._throttled_until > since:
            return f"; by a quota, a broker has this client wait for {self._throttled:.1f} s"
        return f"; last error: {self.text}" if self.text and self._at > since else ""


def connection_reason(code: int, text: str) -> str:
    """The reason that an error of a connection gives, by its code and its text."""
    if code == KafkaError._TRANSPORT and _TLS.search(text):
        return "tls_failed"
    if code == KafkaError._TRANSPORT and _REFUSED.search(text):
        return "connection_refused"
    return verdict(code).reason
