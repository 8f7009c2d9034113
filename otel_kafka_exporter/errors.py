"""What can go wrong, as exceptions.

    OtelKafkaError
    ├── SettingsError     a setting is missing, malformed or contradicts another     (also a ValueError)
    ├── ConversionError   a log record cannot become an envelope; names the field    (also a ValueError)
    └── DecodeError       bytes are not an envelope; names the position              (also a ValueError)

None of them reaches an application's logging calls: `SettingsError` is raised where an exporter is made,
`DecodeError` where a reader decodes; a `ConversionError` costs its own record only, which is then accounted for.
"""

from __future__ import annotations


class OtelKafkaError(Exception):
    """The base of this package's exceptions."""


class SettingsError(OtelKafkaError, ValueError):
    """A setting cannot be used: says where it was set, what was expected, what was got, and what to do."""


class ConversionError(OtelKafkaError, ValueError):
    """A log record cannot become an envelope.

    Attributes:
        field: the attribute or field at fault, as the application knows it, e.g. `omni.audit.outcome`.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class DecodeError(OtelKafkaError, ValueError):
    """Bytes from a topic are not an envelope: says what was expected and where it was missed."""
