"""All checks, in their order: what others stand on comes first."""

from __future__ import annotations

from . import (
    clock_checks,
    cluster_checks,
    network_checks,
    otel_checks,
    outbox_checks,
    process_checks,
    registry_checks,
    rights_checks,
    settings_checks,
    tls_checks,
    topic_checks,
    write_checks,
)
from .check import Check

CHECKS: tuple[Check, ...] = (
    *settings_checks.CHECKS,
    *network_checks.CHECKS,
    *tls_checks.CHECKS,
    *cluster_checks.CHECKS,
    *topic_checks.CHECKS,
    *rights_checks.CHECKS,
    *registry_checks.CHECKS,
    *clock_checks.CHECKS,
    *write_checks.CHECKS,
    *outbox_checks.CHECKS,
    *otel_checks.CHECKS,
    *process_checks.CHECKS,
)
