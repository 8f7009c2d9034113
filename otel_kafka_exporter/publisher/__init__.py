"""The async way in: the original publisher's API, for code that awaits each event's acknowledgement.

Only the package's own `__init__` imports it.
Held here: a call that the original accepts is True, False or a documented error; the event loop is never blocked.
"""

from .context import LoggingEventPublisherContext
from .one_off import close_shared_publisher, publish_application_log, publish_audit_log, publish_security_log
from .publisher import LoggingEventPublisher
from .route import KafkaError

__all__ = [
    "KafkaError",
    "LoggingEventPublisher",
    "LoggingEventPublisherContext",
    "close_shared_publisher",
    "publish_application_log",
    "publish_audit_log",
    "publish_security_log",
]
