"""Envelopes that came, for a test to look at: which there are, and what it says when they are not those expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from otel_kafka_exporter.process import monotonic
from otel_kafka_exporter.records import OnexEnvelopeV1

from ._expectations import Expectation, line

_MOST_LINES = 10


class Source(Protocol):
    """Where envelopes come to.

    Attributes:
        patience: seconds that one which is expected is waited for, unless the test says how long.
    """

    patience: float

    def envelopes(self) -> list[OnexEnvelopeV1]:
        """Those that are there, in their order."""

    def wait(self, seconds: float) -> None:
        """Wait until there may be more, for at most so long."""

    def remarks(self) -> list[str]:
        """What may explain that one is missing."""


class CapturedEnvelopes:
    """What a test's code has sent: the fixture `captured_envelopes`, and what `capture_envelopes()` gives.

        [event] = captured_envelopes("audit", actor="bob")
        event = captured_envelopes.one("audit", action="order.delete", context={"order_id": 17})
        captured_envelopes.none("security", decision="deny")

    Each takes a category (`application` unless given; None for all three), and fields by name: those of the payload
    (`level`, `message`, `code`, `logger`, `actor`, `action`, `resource`, `outcome`, `user_id`, `decision`, `context`),
    of the envelope (`correlation_id`, `tenant_id`), or `service`. A value is compared with `==`, so that anything which
    defines that will do; a compiled regular expression is searched for; of a mapping only its own keys are compared.

    What fails is an AssertionError, with what was expected, and what came instead: the nearest first, and in what it
    differs. A category or a field that there is not is a TypeError.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def __call__(
        self, category: str | None = "application", n: int = 0, timeout: float | None = None, **fields: Any
    ) -> list[OnexEnvelopeV1]:
        """Those that are as expected, in their order.

        Args:
            category: see the class.
            n: how many to wait for at least; 0 takes what is there.
            timeout: for how many seconds; 2 in memory, 10 with an embedded Kafka, unless given.
            **fields: see the class.

        Raises:
            AssertionError: fewer than `n` came in time.
        """
        __tracebackhide__ = True  # pytest shows the test's own line
        expectation = Expectation(category, fields)
        found, seconds = self._await(expectation, lambda count: count >= n, timeout)
        if len(found) < n:
            raise AssertionError(self._said(f"{n} times {_article(expectation)}", found, expectation, seconds))
        return found

    def one(
        self, category: str | None = "application", *, timeout: float | None = None, **fields: Any
    ) -> OnexEnvelopeV1:
        """The one that is as expected; waits for it.

        Args:
            category: see the class.
            timeout: as above.
            **fields: see the class.

        Raises:
            AssertionError: none came in time, or there is more than one.
        """
        __tracebackhide__ = True  # pytest shows the test's own line
        expectation = Expectation(category, fields)
        found, seconds = self._await(expectation, bool, timeout)
        if len(found) != 1:
            raise AssertionError(self._said(f"one {expectation}", found, expectation, seconds))
        return found[0]

    def none(self, category: str | None = "application", **fields: Any) -> None:
        """None is as expected. Looks once: wait for what comes last, if anything is still on its way.

        Raises:
            AssertionError: there is one.
        """
        __tracebackhide__ = True  # pytest shows the test's own line
        expectation = Expectation(category, fields)
        found, _ = self._await(expectation, lambda _: True, 0.0)
        if found:
            raise AssertionError(self._said(f"no {expectation}", found, expectation, 0.0))

    def _await(
        self, expectation: Expectation, is_enough: Callable[[int], bool], timeout: float | None
    ) -> tuple[list[OnexEnvelopeV1], float]:
        seconds = self._source.patience if timeout is None else timeout
        deadline = monotonic() + seconds
        while True:
            found = [each for each in self._source.envelopes() if expectation.matches(each)]
            left = deadline - monotonic()
            if is_enough(len(found)) or left <= 0:
                return found, seconds
            self._source.wait(left)

    def _said(self, expected: str, found: list[OnexEnvelopeV1], expectation: Expectation, seconds: float) -> str:
        within = f" within {seconds:g} s" if seconds else ""
        there = [_Near(each, expectation.differences(each)) for each in self._source.envelopes()]
        said = [f"expected {expected}{within}, got {len(found)} of {len(there)} that came"]
        # Stable: those that are equally near stay in their order.
        there.sort(key=lambda near: (not expectation.concerns(near.envelope), len(near.differences)))
        for near in there[:_MOST_LINES]:
            said.append(f"  {line(near.envelope)}")
            said.extend(f"      {difference}" for difference in near.differences)
        if len(there) > _MOST_LINES:
            said.append(f"  and {len(there) - _MOST_LINES} more")
        return "\n".join([*said, *self._source.remarks()])


class _Near(NamedTuple):
    envelope: OnexEnvelopeV1
    differences: list[str]


def _article(expectation: Expectation) -> str:
    return f"an {expectation}" if str(expectation)[0] in "aeiou" else f"a {expectation}"
