"""Checks in their order: deadlines, what follows from a failure, and what leaves them."""

from __future__ import annotations

import threading

import pytest

from otel_kafka_exporter.cli.doctor.check import Check, Finding, NotKnownError, Result, Status, fail, ok, warn
from otel_kafka_exporter.cli.doctor.masking import Masking
from otel_kafka_exporter.cli.doctor.running import chosen, examine, root_cause
from otel_kafka_exporter.cli.doctor.subject import Subject

SECRET = "hunter22"


@pytest.fixture
def subject() -> Subject:
    environ = {"MY_PASSWORD": SECRET}
    return Subject(environ, 1.0, writes=False, masking=Masking(environ))


def well(_subject: Subject) -> Finding:
    return ok("fine")


def ill(_subject: Subject) -> Finding:
    return fail("broken", "means", "todo")


def statuses(results: list[Result]) -> list[tuple[str, Status, str]]:
    return [(each.check.id, each.finding.status, each.because) for each in results]


def test_what_stands_on_a_failure_is_skipped_because_of_it(subject: Subject) -> None:
    """The first failure is the cause of all behind it, however far; what does not stand on it is asked."""
    checks = [
        Check("a.first", ill),
        Check("a.second", well, ("a.first",)),
        Check("a.third", ill, ("a.second",)),
        Check("b.other", well),
        Check("b.last", ill, ("b.other",)),
    ]
    results = examine(checks, subject, 1.0)
    assert statuses(results) == [
        ("a.first", Status.FAIL, ""),
        ("a.second", Status.SKIPPED, "a.first"),
        ("a.third", Status.SKIPPED, "a.first"),
        ("b.other", Status.OK, ""),
        ("b.last", Status.FAIL, ""),
    ]
    cause = root_cause(results)
    assert cause is not None
    assert cause.check.id == "a.first"


def test_a_warning_is_no_reason_to_skip(subject: Subject) -> None:
    """What stands on a warning is asked."""
    checks = [Check("a.first", lambda _: warn("so so", "means", "todo")), Check("a.second", well, ("a.first",))]
    results = examine(checks, subject, 1.0)
    assert [each.finding.status for each in results] == [Status.WARN, Status.OK]
    assert root_cause(results) is None


def test_a_check_that_hangs_fails_at_its_deadline(subject: Subject) -> None:
    """It is left behind, and those after it are asked."""
    for_ever = threading.Event()

    def hangs(_subject: Subject) -> Finding:
        for_ever.wait(30)
        return ok("at last")

    results = examine([Check("a.hangs", hangs), Check("b.other", well)], subject, 0.05)
    for_ever.set()
    assert [each.finding.status for each in results] == [Status.FAIL, Status.OK]
    assert results[0].finding.text == "no answer within 0.05 s"


def test_a_check_that_goes_wrong_is_one_failure(subject: Subject) -> None:
    """An exception is a failure of that check; what it needs and nobody found out is a reason to skip it."""

    def raises(_subject: Subject) -> Finding:
        raise LookupError("oops")

    def needs(_subject: Subject) -> Finding:
        raise NotKnownError("a.raises")

    results = examine([Check("a.raises", raises), Check("b.needs", needs)], subject, 1.0)
    assert [each.finding.status for each in results] == [Status.FAIL, Status.SKIPPED]
    assert results[0].finding.text == "it could not be looked at: LookupError: oops"


def test_no_finding_leaves_with_a_secret(subject: Subject) -> None:
    """Whatever a check puts into its finding, a secret that is known is not in the result."""

    def tells(_subject: Subject) -> Finding:
        return fail(f"a {SECRET}", f"b {SECRET}", f"c {SECRET}", deep=[{SECRET: (SECRET,)}, 1, None, True])

    [result] = examine([Check("a.tells", tells)], subject, 1.0)
    finding = result.finding
    assert (finding.text, finding.means, finding.todo) == ("a [REDACTED]", "b [REDACTED]", "c [REDACTED]")
    assert finding.details == {"deep": [{"[REDACTED]": ["[REDACTED]"]}, 1, None, True]}


def test_which_are_asked() -> None:
    """Prerequisites of what is chosen are asked, through what is left out as well; reported is what was chosen."""
    checks = [
        Check("a.one", well),
        Check("a.two", well, ("a.one",)),
        Check("b.three", well, ("a.two",)),
        Check("c.four", well),
    ]
    asked, reported = chosen(checks, ["b"], ["a.two"])
    assert ([check.id for check in asked], reported) == (["a.one", "b.three"], {"b.three"})
    asked, reported = chosen(checks, [], ["a"])
    assert ([check.id for check in asked], reported) == (["b.three", "c.four"], {"b.three", "c.four"})
