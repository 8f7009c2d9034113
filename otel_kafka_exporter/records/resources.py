"""What a resource says of all its records."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import attributes as names
from .fields import MAX_SERVICE_NAME_LENGTH, MAX_TENANT_ID_LENGTH, take_id
from .values import Cleaner

UNKNOWN_SERVICE = "unknown_service"


class ResourceFacts(NamedTuple):
    """What a resource says. Holds the resource, so that its identity stays its own.

    Attributes:
        resource: the resource.
        service_name: whose records these are.
        instance_id: of which instance.
        tenant_id: of which tenant.
        context: what each context begins with.
    """

    resource: object
    service_name: str
    instance_id: str
    tenant_id: str
    context: dict[str, Any]


def facts_of(
    resource: Any, cleaner: Cleaner, tenant_id: str, instance_id: str, to_context: tuple[str, ...]
) -> ResourceFacts:
    """What a resource says.

    Args:
        resource: OpenTelemetry's; None says nothing.
        cleaner: makes the context fit for JSON and redacts it.
        tenant_id: for a resource that names none.
        instance_id: for a resource that names none.
        to_context: names of attributes that are copied into each context.
    """
    attributes = {} if resource is None else copied(resource.attributes)
    context = {name: attributes[name] for name in to_context if name in attributes}
    service_name = take_id(attributes, "service.name", MAX_SERVICE_NAME_LENGTH)
    own_instance_id = take_id(attributes, "service.instance.id")
    own_tenant_id = take_id(attributes, names.TENANT_ID, MAX_TENANT_ID_LENGTH)
    # What was given and did not count is still there.
    for name in ("service.name", "service.instance.id", names.TENANT_ID):
        if name in attributes:
            context[name] = attributes[name]
    return ResourceFacts(
        resource,
        service_name or UNKNOWN_SERVICE,
        own_instance_id or instance_id,
        own_tenant_id or tenant_id,
        cleaner.clean_mapping(context),
    )


def copied(attributes: Any) -> dict[str, Any]:
    """Attributes as a dict of one's own; the SDK's are 18 times as dear to copy by iterating."""
    if attributes is None:
        return {}
    try:
        found = attributes.copy()
    except AttributeError:
        return dict(attributes)
    return found if type(found) is dict else dict(attributes)
