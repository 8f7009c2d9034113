"""The module's functions publish by one publisher that all of them share."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from otel_kafka_exporter import publish_application_log, publish_audit_log, publish_security_log
from otel_kafka_exporter.publisher import one_off
from otel_kafka_exporter.publisher.one_off import close_shared_publisher
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.waiting import until

from .publishers import AUDIT_TOPIC


@pytest.fixture
def shared(embedded_kafka: EmbeddedKafka) -> Iterator[EmbeddedKafka]:
    """The module functions' publisher, for this test alone."""
    one_off._publisher.cache_clear()
    yield embedded_kafka
    one_off._publisher().close()
    one_off._publisher.cache_clear()


def test_the_module_functions_share_one_publisher_over_many_loops(shared: EmbeddedKafka) -> None:
    """One-off calls of many asyncio.run() go through one connection, and each is True."""

    async def main() -> list[bool]:
        answers = await asyncio.gather(
            publish_application_log("shop", "shop-1", "INFO", "shop.orders", "one", "ORDER"),
            publish_audit_log("t-1", "order.delete", "bob", "order/17", "success"),
            publish_security_log(
                tenant_id="t-1", event_type="permission_check", user_id="bob", resource="console", decision="allow"
            ),
        )
        return list(answers)

    for _ in range(5):
        assert asyncio.run(main()) == [True] * 3
    assert one_off._publisher().stats()[:5] == (15, 15, 0, 0, 0)
    assert len(shared.messages(AUDIT_TOPIC)) == 5


def test_a_call_does_not_wait_for_the_publisher_that_is_closed(
    shared: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another thread closes the shared publisher, an event loop has the next one at once."""
    for name, value in (("OUTBOX", "true"), ("SHUTDOWN_TIMEOUT", "10"), ("DELIVERY_WAIT", "30")):
        monkeypatch.setenv(f"OTEL_EXPORTER_KAFKA_{name}", value)
    assert asyncio.run(publish_audit_log("t-1", "order.delete", "bob", "order/17", "success"))
    shared.down()
    assert asyncio.run(publish_audit_log("t-1", "order.delete", "bob", "order/17", "success", wait=False))
    first = one_off._publisher()
    closing = threading.Thread(target=close_shared_publisher)
    closing.start()
    until(lambda: first._lifecycle.route is None)
    assert asyncio.run(publish_audit_log("t-1", "order.delete", "bob", "order/17", "success", wait=False))
    assert closing.is_alive()
    shared.up()
    closing.join()
    assert one_off._publisher() is not first


def test_the_module_functions_without_settings_are_false(capfd: pytest.CaptureFixture[str]) -> None:
    """Without a bootstrap server a one-off call is False, says what to set, and raises nothing."""
    one_off._publisher.cache_clear()
    assert not asyncio.run(publish_audit_log("t-1", "order.delete", "bob", "order/17", "success"))
    assert "Set OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS" in capfd.readouterr().err
