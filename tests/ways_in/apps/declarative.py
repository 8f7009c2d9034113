"""OpenTelemetry's API alone: what it is connected to is the declarative file's business."""

from opentelemetry._logs import SeverityNumber, get_logger

get_logger("shop.declarative").emit(body="hello from a file", severity_number=SeverityNumber.INFO)
