"""A small shop: a web service that logs, audits and denies. Nothing in it knows about Kafka.

pip install "otel-kafka-exporter[demo]"
export OTEL_SERVICE_NAME=shop OTEL_TRACES_EXPORTER=none OTEL_METRICS_EXPORTER=none
export OTEL_LOGS_EXPORTER=onex_kafka OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS=localhost:9092
opentelemetry-instrument flask --app web_service run

curl -X POST localhost:5000/login -d user=ada -d password=lovelace
"""

from __future__ import annotations

import itertools
import logging
import os

from flask import Flask, request
from flask.typing import ResponseReturnValue

from otel_kafka_exporter import emit_audit_event, emit_security_event

# The usual set-up of a service. OpenTelemetry adds its own handler, so each line goes to stderr and to Kafka.
logging.basicConfig(level=logging.INFO)
logging.getLogger("werkzeug").setLevel(logging.WARNING)  # less a line per request: the proxy in front has it
log = logging.getLogger("shop")

app = Flask(__name__)
order_numbers = itertools.count(1001)
PASSWORDS = {"ada": "lovelace", "root": "toor"}  # a real shop keeps hashes, elsewhere


@app.post("/orders")
def place_order() -> ResponseReturnValue:
    customer, item = request.form["customer"], request.form["item"]
    order = f"order/{next(order_numbers)}"
    # What is in `extra` becomes the record's context. Sensitive keys are redacted: the address never gets out.
    about = {"order": order, "item": item, "customer.email": f"{customer}@example.com"}
    log.info("order placed: %s", item, extra=about)
    emit_audit_event("order.create", customer, order, "success", context={"item": item})
    return {"order": order}, 201


@app.post("/orders/<int:number>/payment")
def pay(number: int) -> ResponseReturnValue:
    try:
        charge(number)
    except ConnectionError:
        # exc_info: type, message and stack trace of the exception go with the record.
        log.exception("payment failed", extra={"order": f"order/{number}"})
        return {"error": "the bank does not answer, please try again"}, 503
    return {"paid": True}


def charge(number: int) -> None:
    raise ConnectionError(f"no answer from the bank for order {number}")


@app.post("/login")
def login() -> ResponseReturnValue:
    user = request.form["user"]
    accepted = PASSWORDS.get(user) == request.form["password"]
    emit_audit_event("user.login", user, "shop", "success" if accepted else "failure")
    if not accepted:
        log.warning("login failed", extra={"user": user, "omni.code": "LOGIN_FAILED"})
        return {"error": "wrong user or password"}, 401
    return {"welcome": user}


@app.get("/admin")
def admin() -> ResponseReturnValue:
    user = request.headers.get("X-User", "anonymous")
    if user != "root":
        emit_security_event("permission_check", user, request.path, "deny", context={"needs": "role:admin"})
        return {"error": "for administrators only"}, 403
    # The same kind of record by the standard logging alone, for code that should not import this package.
    decision = {
        "omni.category": "security",
        "omni.security.event_type": "permission_check",
        "omni.security.user_id": user,
        "omni.security.resource": request.path,
        "omni.security.decision": "allow",
    }
    log.info("admin page opened", extra=decision)
    return {"orders": "..."}


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "5000")))
