"""A Flask service that logs in a request; OpenTelemetry's span of the request gives the correlation ID."""

import logging

from flask import Flask
from opentelemetry import trace

logging.basicConfig(level=logging.INFO)
log = logging.getLogger("shop.web")
app = Flask(__name__)


@app.get("/orders/<int:number>")
def order(number: int) -> str:
    log.info("order %d asked for", number)
    return f"{trace.get_current_span().get_span_context().trace_id:032x}"


print(app.test_client().get("/orders/17").text)
