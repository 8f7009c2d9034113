"""What a test says when the envelopes that came are not those that it expects."""

from __future__ import annotations

import re
import threading
from unittest.mock import ANY

import pytest

from otel_kafka_exporter import OnexEnvelopeV1
from otel_kafka_exporter.testing import CapturedEnvelopes
from tests.records import AUDIT, SECURITY, converted, sdk_records


class Came:
    """Envelopes that are there, and those that come while a test waits."""

    patience = 0.0

    def __init__(self, *there: OnexEnvelopeV1, later: tuple[OnexEnvelopeV1, ...] = ()) -> None:
        self._there, self._later = list(there), list(later)

    def envelopes(self) -> list[OnexEnvelopeV1]:
        return list(self._there)

    def wait(self, seconds: float) -> None:
        if self._later:
            self._there.append(self._later.pop(0))
        else:
            threading.Event().wait(seconds)

    def remarks(self) -> list[str]:
        return ["and a remark"]


def envelopes(*emissions: dict[str, object]) -> tuple[OnexEnvelopeV1, ...]:
    """What log records become that are emitted with these arguments."""
    return tuple(converted(record).envelope for record in sdk_records(emissions))


LINE, CANCELLED, DENIED = envelopes(
    {"body": "order 42 is gone", "attributes": {"order_id": 42, "path": "/orders"}},
    {"event_name": "omni.audit", "attributes": {**AUDIT, "order_id": 42}},
    {"event_name": "omni.security", "attributes": SECURITY},
)


def test_filters() -> None:
    """Categories, fields of payload and envelope, the service, expressions, and parts of a context choose."""
    captured = CapturedEnvelopes(Came(LINE, CANCELLED, DENIED))
    assert captured() == [LINE]
    assert captured(None) == [LINE, CANCELLED, DENIED]
    assert captured("audit", actor="user-7", service="shop") == [CANCELLED]
    assert captured("audit", actor="user-8") == []
    assert captured(None, context={"order_id": 42}) == [LINE, CANCELLED]
    assert captured(None, context={"order_id": 42, "path": ANY}) == [LINE]
    assert captured(message=re.compile(r"order \d+")) == [LINE]
    assert captured(message=re.compile("nothing")) == captured(context=re.compile("order")) == []
    assert captured("security", event_type="permission_check") == [DENIED]
    assert captured(None, event_type="omninode.logging.audit.v1") == [CANCELLED]
    assert captured(None, correlation_id=LINE.correlation_id) == [LINE]


def test_one() -> None:
    """One is the envelope where there is one, and a failure where there are none or two."""
    captured = CapturedEnvelopes(Came(LINE, LINE, DENIED))
    assert captured.one("security") is DENIED
    with pytest.raises(AssertionError, match="expected one application envelope, got 2 of 3 that came"):
        captured.one()
    with pytest.raises(AssertionError, match=r"expected one audit envelope within 0\.01 s, got 0 of 3 that came"):
        captured.one("audit", timeout=0.01)


def test_none() -> None:
    """None passes where there is none, and else shows it."""
    captured = CapturedEnvelopes(Came(DENIED))
    captured.none("security", decision="allow")
    with pytest.raises(AssertionError, match="expected no security envelope with decision='deny', got 1 of 1"):
        captured.none("security", decision="deny")


def test_the_nearest_is_shown_first_and_how_it_differs() -> None:
    """A failure shows what came: by how little it differs, each difference with what was expected and got."""
    [other] = envelopes({"event_name": "omni.audit", "attributes": {**AUDIT, "omni.audit.actor": "eve"}})
    captured = CapturedEnvelopes(Came(LINE, other, CANCELLED))
    with pytest.raises(AssertionError) as failure:
        captured.one("audit", actor="bob", context={"order_id": 42, "late": True})
    assert str(failure.value).splitlines() == [
        "expected one audit envelope with actor='bob', context={'order_id': 42, 'late': True}, got 0 of 3 that came",
        (
            "  audit service='shop' action='order.cancel' actor='user-7' resource='order/42' outcome='success' "
            "tenant_id='default' context={'order_id': 42}"
        ),
        "      actor: expected 'bob', got 'user-7'",
        "      context['late']: expected True, got no such field",
        (
            "  audit service='shop' action='order.cancel' actor='eve' resource='order/42' outcome='success' "
            "tenant_id='default'"
        ),
        "      actor: expected 'bob', got 'eve'",
        "      context['order_id']: expected 42, got no such field",
        "      context['late']: expected True, got no such field",
        (
            "  application level='INFO' service='shop' logger='shop.orders' code='UNSPECIFIED' "
            "message='order 42 is gone' context={'order_id': 42, 'path': '/orders'}"
        ),
        "      category: expected audit, got application",
        "and a remark",
    ]


def test_much_that_came_is_shown_in_part() -> None:
    """Of many envelopes, and of a long value, a failure shows the beginning."""
    [long] = envelopes({"body": "x" * 1000})
    with pytest.raises(AssertionError) as failure:
        CapturedEnvelopes(Came(*[long] * 25)).one("audit")
    assert "  and 15 more\n" in str(failure.value)
    assert "x" * 100 not in str(failure.value)


def test_what_comes_later_is_waited_for() -> None:
    """One that is expected, or several, are waited for; fewer in time are a failure that says how many."""
    came = Came(LINE, later=(CANCELLED, DENIED))
    captured = CapturedEnvelopes(came)
    assert captured.one("security", timeout=60) is DENIED
    assert captured(None, 3, timeout=60) == [LINE, CANCELLED, DENIED]
    with pytest.raises(AssertionError, match="expected 2 times an audit envelope, got 1 of 3 that came"):
        captured("audit", 2)


def test_what_there_is_not_is_a_mistake() -> None:
    """A field or a category that no envelope has is an error, which names what is near; it is never a filter."""
    captured = CapturedEnvelopes(Came(LINE))
    with pytest.raises(TypeError, match=r"acter: expected the name of an envelope's field; did you mean actor\?"):
        captured.none("audit", acter="bob")
    with pytest.raises(TypeError, match=r"zzz: .*; there are action, actor, "):
        captured(zzz=1)
    with pytest.raises(TypeError, match="category: expected one of application, audit, security, or None for all"):
        captured.one("audits")
