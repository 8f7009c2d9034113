"""What is examined, and what checks have found out about it for those behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from otel_kafka_exporter.cli.admin import Admin

from .check import NotKnownError

if TYPE_CHECKING:
    from confluent_kafka.admin._metadata import ClusterMetadata

    from otel_kafka_exporter.cli.topics.facts import TopicFacts
    from otel_kafka_exporter.records import Category
    from otel_kafka_exporter.settings import Settings

    from .child import Child
    from .masking import Masking

_T = TypeVar("_T")


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`host:port`, an IPv6 host in brackets."""
    host, _, port = text.rpartition(":")
    return Address(host.strip("[]"), int(port))


@dataclass
class Subject:
    """An exporter's surroundings, as they are from here.

    Attributes:
        environ: the environment variables.
        seconds: how long a check may take; what waits gives up before.
        writes: whether a probe record may be written.
        masking: is told of each secret that is found.
        bootstrap_servers: instead of the environment's; None as the environment says.
        child: what a command that was run said of itself.
        usable: the bootstrap addresses that have passed all checks so far.
        advertised: the addresses that the cluster gives its brokers, with their IDs; by `cluster.answer`.
        refused: why no broker has answered at such an address, though the bootstrap address had; by `cluster.answer`.
    """

    environ: Mapping[str, str]
    seconds: float
    writes: bool
    masking: Masking
    bootstrap_servers: str | None = None
    child: Child | None = None
    usable: list[Address] = field(default_factory=list)
    advertised: dict[Address, int] = field(default_factory=dict)
    refused: str = ""
    _settings: Settings | None = None
    _metadata: ClusterMetadata | None = None
    _topics: dict[Category, TopicFacts] | None = None
    _client: dict[str, Any] | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What stands before the environment."""
        return {"bootstrap_servers": self.bootstrap_servers}

    @property
    def patience(self) -> float:
        """Seconds that one wait may take, so that the check can still say what it waited for."""
        return 0.8 * self.seconds

    @property
    def settings(self) -> Settings:
        """By `settings.values`."""
        return _known(self._settings, "settings.values")

    @settings.setter
    def settings(self, found: Settings) -> None:
        self._settings = found

    @property
    def client(self) -> dict[str, Any]:
        """librdkafka's properties of the way to the cluster, by `settings.client`."""
        return _known(self._client, "settings.client")

    @client.setter
    def client(self, found: dict[str, Any]) -> None:
        self._client = found

    def admin(self, config: Mapping[str, Any] | None = None) -> Admin:
        """A client that asks.

        Args:
            config: more of librdkafka's properties.
        """
        return Admin(self.settings.bootstrap_servers, self.client, self.patience, config)

    @property
    def metadata(self) -> ClusterMetadata:
        """By `cluster.answer`."""
        return _known(self._metadata, "cluster.answer")

    @metadata.setter
    def metadata(self, found: ClusterMetadata) -> None:
        self._metadata = found

    @property
    def topics(self) -> dict[Category, TopicFacts]:
        """By `topics.exist`."""
        return _known(self._topics, "topics.exist")

    @topics.setter
    def topics(self, found: dict[Category, TopicFacts]) -> None:
        self._topics = found

    @property
    def protocol(self) -> str:
        """`plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`."""
        return str(self.client.get("security.protocol", "plaintext")).lower()

    @property
    def has_tls(self) -> bool:
        """Whether the way to the cluster is encrypted."""
        return self.protocol.endswith("ssl")

    @property
    def is_unchecked(self) -> bool:
        """Whether TLS takes any certificate."""
        return str(self.client.get("enable.ssl.certificate.verification", "true")).lower() == "false"

    @property
    def checks_host(self) -> bool:
        """Whether a certificate has to be of the host; librdkafka's default."""
        algorithm = str(self.client.get("ssl.endpoint.identification.algorithm", "https")).lower()
        return self.has_tls and not self.is_unchecked and algorithm != "none"

    @property
    def has_sasl(self) -> bool:
        """Whether there is a login."""
        return self.protocol.startswith("sasl")

    @property
    def mechanism(self) -> str:
        """SASL's; GSSAPI is librdkafka's default."""
        return str(self.client.get("sasl.mechanism") or self.client.get("sasl.mechanisms") or "GSSAPI")


def _known(found: _T | None, by: str) -> _T:
    if found is None:
        raise NotKnownError(by)
    return found
