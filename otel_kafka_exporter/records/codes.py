"""The words of the original publisher and its guide, so that an editor completes them; their texts do as well.

So does any other text as a code, an action or an event type; a level, an outcome or a decision is one of these.
"""

from __future__ import annotations

from enum import Enum


class LogCode(str, Enum):
    """What an application log line is about."""

    AGENT_EXECUTION_STARTED = "AGENT_EXECUTION_STARTED"
    AGENT_EXECUTION_COMPLETED = "AGENT_EXECUTION_COMPLETED"
    AGENT_EXECUTION_FAILED = "AGENT_EXECUTION_FAILED"
    AGENT_ROUTED = "AGENT_ROUTED"
    QUALITY_GATE_PASSED = "QUALITY_GATE_PASSED"
    QUALITY_GATE_FAILED = "QUALITY_GATE_FAILED"
    PROVIDER_SELECTED = "PROVIDER_SELECTED"
    KAFKA_EVENT_PUBLISHED = "KAFKA_EVENT_PUBLISHED"
    KAFKA_EVENT_FAILED = "KAFKA_EVENT_FAILED"


class LogLevel(str, Enum):
    """How severe an application log line is."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


class Outcome(str, Enum):
    """Whether what an audit event tells of worked."""

    SUCCESS = "success"
    FAILURE = "failure"


class Decision(str, Enum):
    """What was decided, in a security event."""

    ALLOW = "allow"
    DENY = "deny"


class AuditAction(str, Enum):
    """What was done, in an audit event."""

    AGENT_EXECUTION = "agent.execution"
    API_CALL = "api.call"
    DATA_ACCESS = "data.access"
    CONFIG_CHANGE = "config.change"
    USER_LOGIN = "user.login"
    USER_LOGOUT = "user.logout"
    PERMISSION_GRANT = "permission.grant"
    PERMISSION_REVOKE = "permission.revoke"


class SecurityEventType(str, Enum):
    """What happened, in a security event."""

    API_KEY_USED = "api_key_used"
    API_KEY_CREATED = "api_key_created"
    API_KEY_REVOKED = "api_key_revoked"
    PERMISSION_CHECK = "permission_check"
    AUTHENTICATION_SUCCESS = "authentication_success"
    AUTHENTICATION_FAILURE = "authentication_failure"
    AUTHORIZATION_SUCCESS = "authorization_success"
    AUTHORIZATION_FAILURE = "authorization_failure"
    SUSPICIOUS_ACTIVITY = "suspicious_activity"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
