"""What a command's logging really does, as its processes have reported."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .check import Check, Finding, NotKnownError, fail, ok, skipped, warn
from .subject import Subject

_NOTHING_GOES = "No log record of this application takes the way to Kafka."


def _ran(subject: Subject) -> Finding:
    child = subject.child
    if child is None:
        return skipped("no command was run")
    processes = len(child.reports)
    if child.code:
        return fail(
            f"{child.program} ended by itself with code {child.code}",
            "What it printed stands above, on stderr.",
            "Run it without otel-kafka doctor -- until it stays.",
            processes=child.reports,
        )
    if not child.reports:
        return fail(
            f"no Python of {child.program} has reported",
            "It is no Python program, or Python was told to leave PYTHONPATH alone (-I, -E, -S).",
            "Name the program that runs Python itself, as in: otel-kafka doctor -- python app.py",
        )
    if not child.complete and child.code == 0:
        return fail(
            f"{child.program} ended before it could be asked, without running what is registered for its end",
            "It ended by os._exit, say; what its exporter had not sent by then was lost, or is in the outbox.",
            "Examine a run that lasts for longer than --run-for.",
            processes=child.reports,
        )
    if not child.complete:
        return fail(
            f"{child.program} has begun, and OpenTelemetry's set-up has not come to its end",
            "opentelemetry-instrument gives up at the first error, and the application goes on without telemetry.",
            "Look for 'Failed to auto initialize OpenTelemetry' above, on stderr; otel-kafka doctor --only otel has the"
            " usual causes.",
            processes=child.reports,
        )
    how = "ended by itself" if child.code == 0 else "was stopped"
    return ok(f"{child.program}: Python processes: {processes}; it {how}", processes=child.reports)


def _installed(subject: Subject) -> Finding:
    found = _main(subject).get("exporter_version")
    if not found:
        return fail(
            "otel-kafka-exporter is not installed in the command's Python",
            _NOTHING_GOES,
            "pip install otel-kafka-exporter, into the environment that the command runs in.",
        )
    return ok(f"otel-kafka-exporter {found}")


def _provider(subject: Subject) -> Finding:
    main = _main(subject)
    name = main.get("provider")
    if main.get("sdk_disabled"):
        return fail("OTEL_SDK_DISABLED=true", _NOTHING_GOES, "Unset it.")
    if name is None:
        return fail(
            "OpenTelemetry is not imported",
            _NOTHING_GOES,
            "Run it by opentelemetry-instrument, or set a LoggerProvider in the application; README.md shows both.",
        )
    if not main.get("processors") and not name.startswith("opentelemetry.sdk."):
        return fail(
            f"the provider is {name}: nobody has set one",
            _NOTHING_GOES,
            "Run it by opentelemetry-instrument with opentelemetry-distro installed, or call set_logger_provider.",
        )
    return ok(name)


def _exporter(subject: Subject) -> Finding:
    processors = _main(subject).get("processors") or []
    said = [f"{_short(each['processor'])}({_short(each['exporter'] or '')})" for each in processors]
    ours = [each for each in processors if each["kafka"]]
    if not ours:
        return fail(
            f"none of the processors leads to Kafka: {', '.join(said) or 'there are none'}",
            _NOTHING_GOES,
            "OTEL_LOGS_EXPORTER=onex_kafka, or add the exporter or the direct processor to the provider.",
            processors=processors,
        )
    if len(ours) > 1:
        return warn(
            f"{len(ours)} processors lead to Kafka: {', '.join(said)}",
            "Each record is sent as often.",
            "Keep one of them: OTEL_LOGS_EXPORTER, or what the application adds.",
            processors=processors,
        )
    return ok(", ".join(said), processors=processors)


def _handler(subject: Subject) -> Finding:
    main = _main(subject)
    number = main.get("otel_handlers", 0)
    handlers = ", ".join(map(_short, main.get("handlers") or [])) or "none"
    if not number:
        return warn(
            f"no handler of OpenTelemetry on the root logger (there are: {handlers})",
            "What the application says by Python's logging does not come to OpenTelemetry. A logging.config that runs"
            " behind the set-up takes handlers away.",
            "pip install opentelemetry-instrumentation-logging; or add its LoggingHandler behind logging.config.",
        )
    if number > 1:
        return warn(
            f"{number} handlers of OpenTelemetry on the root logger",
            "Each log line becomes as many records.",
            "Keep one: unset OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED, or take the application's own away.",
        )
    return ok(f"{handlers}; the root logger's level is {main.get('root_level')}")


def _record(subject: Subject) -> Finding:
    tried = _main(subject).get("record")
    if not tried:
        return skipped("the process did not get that far")
    if not tried["seen"]:
        return fail(
            "a test record of Python's logging did not come to the provider",
            "What the application logs is lost on the way: a level, a filter, disable_existing_loggers, or no handler.",
            "See child.handler; look at logging.config, and at logging.disable().",
        )
    before, after = (_summed(tried[when]) for when in ("before", "after"))
    grown = {name: after[name] - before[name] for name in _COUNTS}
    dropped = {name: count - before[name] for name, count in after.items() if name not in _COUNTS}
    if grown["delivered"]:
        return ok("a test record was delivered", **grown)
    reasons = ", ".join(reason for reason, count in dropped.items() if count > 0)
    fates = {
        f"a test record was dropped: {reasons}": bool(reasons),
        "a test record waits in the outbox: Kafka did not take it": bool(grown["spooled"]),
        "a test record became a dead letter": bool(grown["dead_lettered"]),
        "a test record came to the provider, and the exporter did not get it": True,
    }
    return fail(
        next(fate for fate, is_so in fates.items() if is_so),
        "The application hands records over, and they do not arrive.",
        "otel-kafka doctor, in the same environment, says why; docs/delivery.md has each reason.",
        **grown,
    )


_COUNTS = ("accepted", "delivered", "spooled", "dead_lettered")


def _forks(subject: Subject) -> Finding:
    complete = subject.child.complete if subject.child is not None else []
    with_way = [each for each in complete if any(processor["kafka"] for processor in each.get("processors") or [])]
    without = [each for each in complete if each not in with_way]
    if with_way and without:
        names = ", ".join(f"{each['program']} ({each['pid']})" for each in without)
        return warn(
            f"of {len(complete)} processes {len(without)} have no way to Kafka: {names}",
            "A reloader, or a server that starts its workers anew, leaves them without OpenTelemetry's set-up.",
            "Turn the reloader off (flask run --no-reload), or set OpenTelemetry up in each worker.",
        )
    return ok("all processes are alike" if len(complete) > 1 else "one process")


def _main(subject: Subject) -> dict[str, Any]:
    """Of the process that tells most: the first one that has a way to Kafka, or the first."""
    complete = subject.child.complete if subject.child is not None else []
    if not complete:
        raise NotKnownError("child.ran")
    with_way = (each for each in complete if any(processor["kafka"] for processor in each.get("processors") or []))
    return next(with_way, complete[0])


def _summed(stats: list[dict[str, Any]]) -> Counter[str]:
    """The counts of all exporters, and those of what was dropped, by reason."""
    found: Counter[str] = Counter()
    for each in stats:
        found.update({name: each[name] for name in _COUNTS})
        found.update(each["dropped"])
    return found


def _short(name: str) -> str:
    return name.rpartition(".")[2]


CHILD_CHECKS = (
    Check("child.ran", _ran),
    Check("child.installed", _installed, ("child.ran",)),
    Check("child.provider", _provider, ("child.installed",)),
    Check("child.exporter", _exporter, ("child.provider",)),
    Check("child.handler", _handler, ("child.provider",)),
    Check("child.record", _record, ("child.exporter",)),
    Check("child.forks", _forks, ("child.ran",)),
)
