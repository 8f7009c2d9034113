"""What the service says, without a broker: any number of tests in one process."""

from __future__ import annotations

import re

import pytest
from orders import close_account, delete_order

from otel_kafka_exporter.testing import CapturedEnvelopes


@pytest.mark.parametrize("number", [17, 18])
def test_a_deletion_is_audited(captured_envelopes: CapturedEnvelopes, number: int) -> None:
    delete_order(number, "alice")
    event = captured_envelopes.one("audit", action="order.delete", actor="alice", context={"order_id": number})
    assert event.payload["resource"] == f"order/{number}"


def test_a_stranger_is_turned_away(captured_envelopes: CapturedEnvelopes) -> None:
    with pytest.raises(PermissionError):
        delete_order(17, "eve")
    captured_envelopes.one("security", user_id="eve", decision="deny")
    captured_envelopes.none("audit")


def test_no_key_is_logged(captured_envelopes: CapturedEnvelopes) -> None:
    with pytest.raises(PermissionError):
        delete_order(17, "eve")
    captured_envelopes.one(level="WARN", message=re.compile("stranger"), context={"api_key": "[REDACTED]"})


def test_an_account_is_closed(captured_envelopes: CapturedEnvelopes) -> None:
    assert close_account("bob")
    captured_envelopes.one("audit", action="account.close")
