"""Logs to a file and to Kafka: with standard logging, as it is done today, and with a logger of one's own, as it was.

pip install "otel-kafka-exporter" opentelemetry-instrumentation-logging
export KAFKA_BOOTSTRAP_SERVERS=localhost:9092
python dual_logging.py
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource

from otel_kafka_exporter import KafkaLogRecordProcessor, LogCode, LoggingEventPublisher


def log_to_both(path: str) -> LoggerProvider:
    """Have every logger of this process write to a file and to Kafka. Nothing else in the service has to change.

    There is no queue in between, and none is needed: a log call hands its record to Kafka's client and goes on.
    """
    provider = LoggerProvider(resource=Resource.create({"service.name": "omniclaude"}))
    provider.add_log_record_processor(KafkaLogRecordProcessor())
    logging.basicConfig(
        level=logging.INFO, handlers=[logging.FileHandler(path), LoggingHandler(logger_provider=provider)]
    )
    return provider


class DualLogger:
    """The guide's logger, complete: to a file and, if that works, to Kafka."""

    def __init__(self, name: str, service_name: str, instance_id: str) -> None:
        self.logger = logging.getLogger(name)
        self._place = (service_name, instance_id)
        self._publisher = LoggingEventPublisher(outbox=True)

    async def start(self) -> None:
        await self._publisher.start()

    async def stop(self) -> None:
        await self._publisher.stop()

    async def log(self, level: str, message: str, code: str, context: Mapping[str, Any] | None = None) -> bool:
        self.logger.log(logging.getLevelName(level), message)
        return await self._publisher.publish_application_log(
            *self._place, level, self.logger.name, message, code, context
        )

    async def debug(self, message: str, code: str, **context: Any) -> bool:
        return await self.log("DEBUG", message, code, context)

    async def info(self, message: str, code: str, **context: Any) -> bool:
        return await self.log("INFO", message, code, context)

    async def warning(self, message: str, code: str, **context: Any) -> bool:
        return await self.log("WARNING", message, code, context)

    async def error(self, message: str, code: str, **context: Any) -> bool:
        return await self.log("ERROR", message, code, context)


async def main() -> None:
    dual = DualLogger("agents", "omniclaude", "omniclaude-1")
    await dual.start()
    await dual.info("the agent is done", LogCode.AGENT_EXECUTION_COMPLETED, duration_ms=1234)
    await dual.stop()


if __name__ == "__main__":
    asyncio.run(main())  # as it was
    both = log_to_both("service.log")  # as it is done today
    logging.getLogger("agents").info("the agent is done", extra={"omni.code": "AGENT_EXECUTION_COMPLETED"})
    both.shutdown()
