"""Exporters that keep nothing: what they cannot deliver is dropped."""

from __future__ import annotations

from functools import partial

from opentelemetry.sdk._logs.export import LogRecordExportResult

from .pipelines import exporting as exporting_with

exporting = partial(exporting_with, outbox=False)
SUCCESS, FAILURE = LogRecordExportResult.SUCCESS, LogRecordExportResult.FAILURE
