"""A program that says something, and then nothing until a signal comes."""

import logging
import time

from otel_kafka_exporter import emit_audit_event

logging.getLogger().setLevel(logging.INFO)
for number in range(6):
    logging.getLogger("shop").info("order %s was read", number)
    emit_audit_event("order.read", "bob", f"order/{number}", "success")
print("said", flush=True)
while True:
    time.sleep(0.1)  # signal.pause() waits for ever where a signal comes just before it
