"""The names that give an attribute or a context key a meaning of its own."""

from __future__ import annotations

from typing import Literal

CATEGORY = "omni.category"
TENANT_ID = "omni.tenant_id"
CORRELATION_ID = "omni.correlation_id"
CAUSATION_ID = "omni.causation_id"
CODE = "omni.code"
#: OpenTelemetry's attribute for a record's own ID.
RECORD_UID = "log.record.uid"

AUDIT_ACTION = "omni.audit.action"
AUDIT_ACTOR = "omni.audit.actor"
AUDIT_RESOURCE = "omni.audit.resource"
AUDIT_OUTCOME = "omni.audit.outcome"
OUTCOMES: tuple[Literal["success", "failure"], ...] = ("success", "failure")

SECURITY_EVENT_TYPE = "omni.security.event_type"
SECURITY_USER_ID = "omni.security.user_id"
SECURITY_RESOURCE = "omni.security.resource"
SECURITY_DECISION = "omni.security.decision"
DECISIONS: tuple[Literal["allow", "deny"], ...] = ("allow", "deny")

#: Names of the OpenTelemetry events that are audit and security events.
AUDIT_EVENT = "omni.audit"
SECURITY_EVENT = "omni.security"

#: What of a record has no field in the envelope, as keys of its context.
SEVERITY_TEXT = "otel.severity_text"
EVENT_NAME = "otel.event.name"
SCOPE_NAME = "otel.scope.name"
TIMESTAMP = "otel.timestamp"
BODY = "otel.body"
MESSAGE = "message"
TRUNCATED = "otel.truncated"
TRUNCATED_MESSAGE = "otel.truncated.message"
#: Attributes whose values the SDK has cut, or that are just as long as it leaves any.
TRUNCATED_ATTRIBUTES = "otel.truncated.attributes"
#: https://opentelemetry.io/docs/specs/otel/common/mapping-to-non-otlp/#dropped-attributes-count
DROPPED_ATTRIBUTES = "otel.dropped_attributes_count"

#: Attributes with a meaning of their own start with this, `RECORD_UID` aside.
RESERVED_PREFIX = "omni."
