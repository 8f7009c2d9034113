"""A service that knows nothing of OpenTelemetry: stdlib logging, with the audit and security events as `extra`."""

import logging

logging.basicConfig(level=logging.INFO)
log = logging.getLogger("shop.orders")

log.info("order %s placed", 17, extra={"customer": "c-9", "card.password": "hunter2"})
log.warning("stock is low", extra={"omni.code": "STOCK_LOW"})
try:
    raise LookupError("no such article")
except LookupError:
    log.exception("order failed")
log.info(
    "bob deleted order 17",
    extra={
        "omni.category": "audit",
        "omni.audit.action": "order.delete",
        "omni.audit.actor": "bob",
        "omni.audit.resource": "order/17",
        "omni.audit.outcome": "success",
        "omni.tenant_id": "acme",
    },
)
log.warning(
    "bob may not see the ledger",
    extra={
        "omni.category": "security",
        "omni.security.event_type": "permission_check",
        "omni.security.user_id": "bob",
        "omni.security.resource": "ledger",
        "omni.security.decision": "deny",
    },
)
