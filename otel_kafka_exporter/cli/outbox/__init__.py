"""`otel-kafka outbox`: what waits on the disk, and what to do about it."""

from .command import outbox

__all__ = ["outbox"]
