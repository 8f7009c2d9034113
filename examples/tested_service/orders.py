"""Part of a service: it deletes orders and closes accounts, and leaves a trail of who did."""

from __future__ import annotations

import logging

from otel_kafka_exporter import DeliveryError, DeliveryTimeout, emit_audit_event, emit_security_event

log = logging.getLogger(__name__)


def delete_order(number: int, user: str) -> None:
    """Delete an order, which its owner may do, who is Alice."""
    resource = f"order/{number}"
    allowed = user == "alice"
    emit_security_event("permission_check", user, resource, "allow" if allowed else "deny")
    if not allowed:
        log.warning("a stranger at an order", extra={"order_id": number, "api_key": "k-17"})
        raise PermissionError(resource)
    emit_audit_event("order.delete", user, resource, "success", context={"order_id": number})


def close_account(user: str) -> bool:
    """Close an account, unless the trail of it cannot be had; whether it is closed."""
    try:
        emit_audit_event("account.close", user, f"account/{user}", "success", wait=1)
    except (DeliveryTimeout, DeliveryError) as error:
        log.error("account of %s stays open: %s", user, error)  # noqa: TRY400 - expected, no fault of ours
        return False
    return True
