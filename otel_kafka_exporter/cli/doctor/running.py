"""Checks in their order, each with a deadline; what failed is the reason why those behind it are skipped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence

from otel_kafka_exporter.process import monotonic

from .check import Check, Finding, NotKnownError, Result, Status, fail, skipped
from .subject import Subject


def examine(
    checks: Sequence[Check], subject: Subject, seconds: float, on_result: Callable[[Result], None] = lambda _: None
) -> list[Result]:
    """Ask all checks, in their order.

    Args:
        checks: those that are asked, prerequisites before what stands on them.
        subject: what is examined.
        seconds: the deadline of each.
        on_result: is given each result at once.
    """
    results: dict[str, Result] = {}
    for check in checks:
        failed = [results[name] for name in check.after if name in results and _blocks(results[name])]
        if failed:
            because = failed[0].because or failed[0].check.id
            result = Result(check, skipped(f"because {because} failed"), because=because)
        else:
            result = _asked(check, subject, seconds)
        results[check.id] = result
        on_result(result)
    return list(results.values())


def root_cause(results: Iterable[Result]) -> Result | None:
    """The first failure; what failed because of it was skipped."""
    return next((each for each in results if each.finding.status is Status.FAIL), None)


def chosen(checks: Sequence[Check], only: Collection[str], skip: Collection[str]) -> tuple[list[Check], set[str]]:
    """Which checks are asked, and which of them are reported on whatever they find.

    Args:
        checks: all.
        only: IDs, or families such as `tls`; all unless given. What they stand on is asked as well.
        skip: IDs or families that are not asked; what stands on them is asked all the same, if it can be.
    """
    left_out = {check.id for check in checks if _is_named(check, skip)}
    reported = {check.id for check in checks if not only or _is_named(check, only)} - left_out
    needed = set(reported)
    for check in reversed(checks):
        if check.id in needed:
            needed.update(check.after)
    return [check for check in checks if check.id in needed - left_out], reported


def _is_named(check: Check, names: Collection[str]) -> bool:
    return check.id in names or check.id.partition(".")[0] in names


def _blocks(result: Result) -> bool:
    return result.finding.status is Status.FAIL or bool(result.because)


def _asked(check: Check, subject: Subject, seconds: float) -> Result:
    """In a thread of its own: a resolver, for one, cannot be interrupted."""
    answers: list[Finding] = []
    thread = threading.Thread(target=lambda: answers.append(_answer(check, subject)), name=check.id, daemon=True)
    began = monotonic()
    thread.start()
    thread.join(seconds)
    took = monotonic() - began
    late = fail(
        f"no answer within {seconds:g} s",
        "What was asked hangs: a name server, a firewall that drops packets, or a machine that is overloaded.",
        "Look at what the line names; --timeout gives it longer.",
    )
    found = answers[0] if answers else late
    mask = subject.masking
    masked = Finding(
        found.status,
        mask.text(found.text),
        mask.text(found.means),
        mask.text(found.todo),
        mask.value(found.details),
        tuple(map(mask.text, found.lines)),
    )
    return Result(check, masked, took)


def _answer(check: Check, subject: Subject) -> Finding:
    try:
        return check.ask(subject)
    except NotKnownError as error:
        return skipped(f"because {error} was left out, or found nothing")
    except Exception as error:  # noqa: BLE001 - one question that goes wrong is no reason to leave the others unasked
        return fail(
            f"it could not be looked at: {type(error).__name__}: {error}",
            "The check itself is at fault, or the system answers as it never should.",
            "Report it, with the file that --bundle writes.",
        )
