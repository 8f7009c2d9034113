"""No secret leaves the doctor: whatever it writes goes through here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from otel_kafka_exporter.records import REDACTED, KeyRedaction
from otel_kafka_exporter.settings import Settings, variable

_LEAST = 3  # a shorter text would take half of every line with it
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
#: Variables of ours whose values are lists of properties, of which any may be a secret.
_LISTS = tuple(variable(name) for name in ("producer_config", "schema_registry_config"))
#: A shell's working directories, in spite of their names: they begin many a path.
_DIRECTORIES = ("PWD", "OLDPWD")
# Values that are no secret, and that stand in many a sentence.
_WORDS = frozenset({
    "true", "false", "none", "default", "https", "http", "plain", "ssl", "plaintext", "sasl_ssl", "sasl_plaintext",
    "all", "gssapi", "scram-sha-256", "scram-sha-512", "oauthbearer", "oidc",
})  # fmt: skip
#: Properties whose values may be seen; of all others nobody knows what librdkafka's next release makes of them.
_OPEN = frozenset({
    "acks", "broker.address.family", "client.id", "client.rack", "compression.type", "debug", "enable.idempotence",
    "enable.ssl.certificate.verification", "linger.ms", "partitioner", "sasl.mechanism", "sasl.mechanisms",
    "sasl.oauthbearer.method", "sasl.username", "security.protocol", "ssl.ca.location", "ssl.certificate.location",
    "ssl.crl.location", "ssl.endpoint.identification.algorithm", "ssl.key.location", "ssl.keystore.location",
})  # fmt: skip


class Masking:
    """Replaces each secret that it was told of, wherever it stands in a text.

    Args:
        environ: environment variables; those with the name of a secret, and values in lists of properties, are some.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._secrets: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._is_sensitive = KeyRedaction().is_sensitive
        for name, value in environ.items():
            if name in _LISTS or name.endswith("_HEADERS"):
                self._add_pairs(value)
            elif self._is_sensitive(name) and name not in _DIRECTORIES:
                self.add(value)
            for found in re.findall(r"//([^/@\s]*)@", value):
                for part in (found, *found.split(":")):
                    self.add(part)

    def add(self, value: object) -> None:
        """Tell it of a secret."""
        text = str(value).strip()
        if len(text) >= _LEAST and text.lower() not in _WORDS:
            self._secrets.update({text, repr(text)[1:-1], text.encode("unicode_escape").decode()})
            self._pattern = None

    def add_settings(self, settings: Settings) -> None:
        """Tell it of those in settings, files that they name included."""
        for properties in (settings.producer_config, settings.schema_registry_config):
            for name, value in properties.items():
                self._add_property(name, value)

    def text(self, text: str) -> str:
        """A text without them."""
        if self._pattern is None:
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        return _CREDENTIALS.sub(f"//{REDACTED}@", self._pattern.sub(REDACTED, text))

    def value(self, value: Any) -> Any:
        """A value of JSON, all of whose texts are without them."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(name)): self.value(each) for name, each in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.value(each) for each in value]
        return value if value is None or isinstance(value, (bool, int, float)) else self.text(str(value))

    def _add_pairs(self, text: str) -> None:
        for pair in text.split(","):
            name, equals, value = pair.partition("=")
            # Without a name it is the rest of a value with a comma.
            self._add_property(name.strip(), value) if equals else self.add(pair)

    def _add_property(self, name: str, value: object) -> None:
        text = str(value)
        is_number = text.strip().isdigit() and not self._is_sensitive(name)
        if name in _OPEN or is_number:
            return
        self.add(text)
        for part in text.split(":"):  # user:password
            self.add(part)
