"""Is the Schema Registry there, and does it know the schema?"""

from __future__ import annotations

import urllib.error
import urllib.request

from otel_kafka_exporter import SettingsError
from otel_kafka_exporter.records import CATEGORIES, event_type
from otel_kafka_exporter.settings import Settings

from .check import Check, Finding, fail, ok, skipped, warn
from .reach import os_problem
from .subject import Subject

_WAITS = "Records wait in the outbox (no_schema_id) until the registry gives an ID."


def first_url(settings: Settings) -> str:
    """The first address of the registry, without credentials."""
    scheme, _, rest = (settings.schema_registry_url or "").split(",")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _answer(subject: Subject) -> Finding:
    if subject.settings.schema_registry_url is None:
        return skipped("no schema_registry_url is set")
    url = first_url(subject.settings)
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/subjects", timeout=subject.patience):  # noqa: S310 - http or https
            return ok(f"{url} answers")
    except urllib.error.HTTPError as error:
        if error.code in {401, 403}:
            return ok(f"{url} answers, and asks who we are")
        return fail(
            f"{url} answers {error.code} {error.reason}",
            _WAITS,
            "Correct the path: Confluent's has none, Apicurio's is /apis/ccompat/v7.",
        )
    except OSError as error:
        reason = getattr(error, "reason", error)
        said = os_problem(reason) if isinstance(reason, OSError) else str(reason)
        return fail(
            f"{url} does not answer: {said}",
            _WAITS,
            "Start it, or correct schema_registry_url; a CA of its own goes into ssl.ca.location there.",
        )


def _schema(subject: Subject) -> Finding:
    settings = subject.settings
    if settings.schema_registry_url is None:
        return skipped("no schema_registry_url is set")
    # By its name, and here: it loads Protobuf.
    from otel_kafka_exporter.kafka.schema_registry import SchemaRegistry  # noqa: PLC0415 - as above

    try:
        registry = SchemaRegistry(
            settings.schema_registry_url,
            settings.schema_registry_config,
            settings.schema_registry_subject,
            auto_register=False,  # a doctor changes nothing
        )
    except SettingsError as error:
        return fail(str(error), "An exporter with these settings does not start.", "Do what the line says.")
    problems, ids = {}, {}
    for category in CATEGORIES:
        topic = settings.topic_prefix + event_type(settings.namespace, category)
        problem = registry.wait(topic, subject.patience / len(CATEGORIES))
        if problem is None:
            ids[registry.subject(topic)] = int.from_bytes((registry.frame(topic) or bytes(5))[1:5], "big")
        else:
            problems[registry.subject(topic)] = problem
    if not problems:
        return ok(", ".join(f"{name} is {number}" for name, number in ids.items()))
    name, problem = next(iter(problems.items()))
    if settings.schema_registry_auto_register and "under the subject" in problem:
        return warn(
            f"{', '.join(problems)}: not registered yet; the exporter does it with its first record",
            "Until then the first records wait.",
            "otel-kafka schema register does it now.",
        )
    return fail(f"{name}: {problem}", _WAITS, "otel-kafka schema register, as somebody who may.", problems=problems)


CHECKS = (
    Check("registry.answer", _answer, ("settings.values",)),
    Check("registry.schema", _schema, ("registry.answer",)),
)
