"""Of the exporter's librdkafka properties, those that a reader of the same cluster needs."""

from __future__ import annotations

from typing import Any

from otel_kafka_exporter.kafka import check_with_librdkafka
from otel_kafka_exporter.settings import Settings

_CONNECTION = ("security.", "sasl.", "ssl.", "enable.ssl.", "enable.sasl.", "broker.address.", "client.dns.")


def connection_properties(settings: Settings) -> dict[str, Any]:
    """The properties of the way to the cluster: TLS, SASL, names.

    Raises:
        SettingsError: librdkafka does not take them.
    """
    found = {name: value for name, value in settings.producer_config.items() if name.startswith(_CONNECTION)}
    check_with_librdkafka(found)
    return found
