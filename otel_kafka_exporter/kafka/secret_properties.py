"""Which properties of the clients hold secrets, and texts without these.

A property is secret by its name, as a record's key is, or because it is one of those below. Of all others, values may
be seen: a user who is called `kafka` is no secret, and a line about `kafka-1.bank` has to name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from otel_kafka_exporter.records import REDACTED, KeyRedaction, hide_userinfo

#: Secret by what they hold: keys, and texts of which a part is one.
_BY_WHAT_THEY_HOLD = frozenset({
    "sasl.kerberos.kinit.cmd", "sasl.oauthbearer.config", "sasl.oauthbearer.extensions", "ssl.key.pem", "ssl_key",
})  # fmt: skip
#: Of `user:password` only what is behind the colon.
_CREDENTIALS = "basic.auth.user.info"
#: A shorter one would take half of every line with it.
_LEAST_LENGTH = 3

_is_sensitive = KeyRedaction().is_sensitive


def secrets_of(properties: Mapping[str, Any]) -> list[str]:
    """The texts that may not be seen, the longest first: one may be a part of another."""
    found = set()
    for name, value in properties.items():
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        if name == _CREDENTIALS:
            found.add(text.partition(":")[2])
        elif name in _BY_WHAT_THEY_HOLD or _is_sensitive(name):
            found.add(text)
    return sorted((text for text in found if len(text) >= _LEAST_LENGTH), key=len, reverse=True)


def without(text: str, secrets: Iterable[str]) -> str:
    """A text without these, and without the userinfo of URLs."""
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    return hide_userinfo(text)
