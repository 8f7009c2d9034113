"""One fault beside several ways of logging at a time, and what became of each way's records."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otel_kafka_exporter.outbox.files import stored_outboxes
from tests.waiting import until

from . import load
from .reading import Arrival, Reader

WAYS = ("direct", "batch", "publisher", "direct without", "batch without", "publisher without", "plain")
#: What counts as delivered meanwhile, in seconds after it was logged.
PROMPT = 2.0
_WARM_SECONDS = 2.0
#: What may be on its way while the load goes on.
_IN_FLIGHT = 60
_ROOT = Path(__file__).parents[2]

Parts = Collection[tuple[str, int]]


class Service:
    """A process that logs one way.

    Args:
        name: that way.
        servers: the cluster.
        prefix: of its topics.
        directory: for its outbox, and for what it prints on stderr.
        rate: records each second.
    """

    def __init__(self, name: str, servers: str, prefix: str, directory: Path, rate: float) -> None:
        self.name = name
        self.outbox = directory / "outbox"
        self.outbox.mkdir(parents=True)
        self._errors = directory / "stderr"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.matrix.load", servers, name, prefix, str(self.outbox), str(rate)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=_ROOT,
                text=True,
            )

    def ask(self, command: str = "") -> dict[str, Any]:
        """Give a command, unless it is empty; what is answered."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if command:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"{self.name} has ended:\n{self.lines()}"
        found: dict[str, Any] = json.loads(answer)
        return found

    def lines(self) -> str:
        """What it has printed on stderr."""
        return self._errors.read_text()

    def says_it_is_over(self) -> bool:
        """Whether it has said that Kafka takes records again; librdkafka alone does not."""
        return self.name == "plain" or bool(_ends(self.lines()))

    def waiting(self, older_than: float) -> set[str]:
        """The texts of what is in its outbox, written before that moment of the wall clock."""
        found = set()
        for outbox in stored_outboxes(self.outbox):
            for row in outbox.rows():
                if row.row.nanoseconds < older_than * 1e9:
                    payload = json.loads(row.row.record.value)["payload"]
                    found.add(payload["resource"] if "resource" in payload else payload["message"])
        return found

    def freeze(self) -> None:
        """Stop it where it is (SIGSTOP)."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Undo `freeze`."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it without notice, if it has not ended."""
        self._process.kill()
        self._process.communicate()


@dataclass
class Result:
    """What became of one way's records.

    Attributes:
        way: it.
        logged: how many records.
        healthy: how many of them, logged during the fault, did not belong to what was sick.
        prompt: which share of those was delivered within two seconds.
        slowest: the longest call during the fault, in seconds, but for one in a hundred, for the machine's sake.
        lost: what was neither delivered nor counted.
        dropped: what was counted as such, by reason.
        twice: how many arrived more than once.
        disorder: how many arrived before an earlier one of the same key.
        strange: what waited in the outbox although it did not belong to what was sick.
        healed: seconds from the end of the fault until nothing waited, and that was said.
        lines: what it printed.
        stats: its counts in the end.
    """

    way: str
    logged: int = 0
    healthy: int = 0
    prompt: float = 0.0
    slowest: float = 0.0
    lost: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    twice: int = 0
    disorder: int = 0
    strange: int = 0
    healed: float = 0.0
    lines: str = ""
    stats: dict[str, Any] = field(default_factory=dict)

    def row(self) -> str:
        """It as a line of a table."""
        return (
            f"{self.way:18} logged {self.logged:6} healthy {self.healthy:6} prompt {self.prompt:5.3f} "
            f"slowest {1000 * self.slowest:5.0f} ms lost {self.lost} twice {self.twice:4} disorder {self.disorder:3} "
            f"strange {self.strange:3} healed {self.healed:4.1f} s dropped {self.dropped}"
        )


@contextmanager
def frozen(running: Sequence[Service]) -> Iterator[Parts]:
    """No fault of the cluster's: the services are stopped, as by a debugger or a container's freezer."""
    for service in running:
        service.freeze()
    try:
        yield ()
    finally:
        for service in running:
            service.go_on()


@contextmanager
def services(
    names: Collection[str], servers: str, prefix: str, directory: Path, rate: float
) -> Iterator[list[Service]]:
    """Services that log already, and have delivered something."""
    with ExitStack() as stack:
        found = []
        for name in names:
            service = Service(name, servers, prefix, directory / name.replace(" ", "-"), rate)
            stack.callback(service.close)
            found.append(service)
        for service in found:
            service.ask()
        for service in found:
            until(lambda: service.ask("stats")["delivered"] > 10, 30, f"{service.name} delivers")  # noqa: B023
        yield found


def run(
    servers: str,
    prefix: str,
    partitions: int,
    fault: Callable[[Sequence[Service]], AbstractContextManager[Parts]],
    directory: Path,
    *,
    seconds: float,
    rate: float = 60,
    names: Collection[str] = WAYS,
) -> list[Result]:
    """Have a fault while services log; what became of their records."""
    topics = {prefix + name: partitions for name in load.TOPICS.values()}
    reader = Reader(servers, topics)
    try:
        with services(names, servers, prefix, directory, rate) as running:
            time.sleep(_WARM_SECONDS)  # a stretch of healthy load, to which nothing puts an end
            before = time.time()
            with fault(running) as sick:
                begin = time.time()
                time.sleep(seconds)  # the length of the fault is what is tried
                end = time.time()
                waiting = {service.name: service.waiting(end - 2 * PROMPT) for service in running}
            healed = _wait_healed(running, time.monotonic(), is_fault=bool(sick))
            results = [_end(service, healed[service.name]) for service in running]
            _wait_read(reader, results)
    finally:
        reader.close()
    for result, logged in results:
        _judge(result, logged, reader.arrivals, sick, (before, begin, end), waiting[result.way])
    return [result for result, _ in results]


def _wait_healed(running: list[Service], since: float, longest: float = 60.0, *, is_fault: bool) -> dict[str, float]:
    """Seconds until each has delivered what waited, while they go on."""
    healed: dict[str, float] = {}
    while len(healed) < len(running) and time.monotonic() - since < longest:
        for service in running:
            if service.name not in healed:
                stats = service.ask("stats")
                if (
                    not stats["spooled"]
                    and stats["in_flight"] < _IN_FLIGHT
                    and (service.says_it_is_over() or not is_fault)
                ):
                    healed[service.name] = time.monotonic() - since
        time.sleep(0.1)  # between two looks, up to the deadline: the services are other processes
    return {service.name: healed.get(service.name, longest) for service in running}


def _end(service: Service, healed: float) -> tuple[Result, list[Any]]:
    service.ask("stop")
    said = service.ask("end")
    logged = said.pop("logged")
    result = Result(service.name, len(logged), healed=healed)
    result.stats, result.dropped, result.lines = said, {k: v for k, v in said["dropped"].items() if v}, service.lines()
    return result, logged


def _wait_read(reader: Reader, results: list[tuple[Result, list[Any]]]) -> None:
    """Wait until of each way as many have been read as it says are delivered, or nothing more comes.

    Of all together would not do: what librdkafka has given up without an outbox may have arrived all the same.
    """
    deadline = time.monotonic() + 15

    def is_read() -> bool:
        return all(
            sum(text in reader.arrivals for _, _, text, *_ in logged) >= result.stats["delivered"]
            for result, logged in results
        )

    while not is_read() and time.monotonic() < deadline:
        time.sleep(0.05)  # between two looks, up to the deadline: the consumer reads in another thread
    time.sleep(0.3)  # for what arrived more than once


def _judge(
    result: Result,
    logged: list[Any],
    arrivals: dict[str, list[Arrival]],
    sick: Parts,
    times: tuple[float, float, float],
    waiting: set[str],
) -> None:
    before, begin, end = times
    part_of = {(category, key): arrivals[text][0][:2] for category, key, text, *_ in logged if text in arrivals}
    gone = {topic for topic, _ in sick} if len({topic for topic, _ in sick}) == 1 else set()
    healthy = prompt = missing = 0
    last: dict[tuple[str, str], tuple[float, int]] = {}
    for category, key, text, at, _ in logged:
        part = part_of.get((category, key))
        found = arrivals.get(text)
        is_sick = part is None or part in sick
        if begin <= at < end - PROMPT and not is_sick:
            healthy += 1
            prompt += found is not None and found[0].at - at < PROMPT
        if found is None:
            # What a deleted topic had taken is gone with it.
            missing += not (gone and is_sick and at < before + 1)
        else:
            result.twice += len({arrival[:3] for arrival in found}) > 1
            where = (found[0].at, found[0].offset)
            result.disorder += last.get((category, key), where) > where
            last[category, key] = max(where, last.get((category, key), where))
        result.strange += text in waiting and not is_sick
    result.healthy, result.prompt = healthy, prompt / max(1, healthy)
    result.lost = max(0, missing - sum(result.dropped.values()))
    longest = sorted(duration for *_, at, duration in logged if begin <= at < end)
    result.slowest = longest[-1 - len(longest) // 100] if longest else 0.0


def judge(results: list[Result]) -> None:
    """Fail unless each way of ours keeps what is promised. Librdkafka alone stands beside them and promises nothing."""
    _judge_all(results, _problems)


def judge_frozen(results: list[Result]) -> None:
    """The same where the services were frozen, and nothing was wrong with the cluster."""
    _judge_all(results, _problems_of_frozen)


def _judge_all(results: list[Result], problems: Callable[[Result], Iterator[str]]) -> None:
    table = "\n".join(result.row() for result in results)
    wrong = [problem for result in results if result.way != "plain" for problem in problems(result)]
    assert not wrong, "\n".join([*wrong, table, *(f"{each.way}:\n{each.lines}" for each in results)])


def _problems_of_frozen(result: Result) -> Iterator[str]:
    # Without an outbox it is librdkafka that gives a record up after `delivery_wait`, and for it that time has passed.
    keeps = "without" not in result.way
    for is_kept, promise in (
        (not result.lost, "nothing is lost unseen"),
        (not (keeps and result.dropped), "nothing is dropped that can wait in the outbox"),
        (not result.twice, "nothing arrives twice"),
        (not result.disorder, "the records of a key arrive in order"),
        (result.healed <= 10, "all is delivered within 10 s"),
        (not (keeps and _said(result.lines)), "nothing is said of a cluster with which nothing is wrong"),
    ):
        if not is_kept:
            yield f"{result.way}: broken: {promise}"


def _problems(result: Result) -> Iterator[str]:
    keeps = "without" not in result.way
    for is_kept, promise in (
        (result.healthy > 100, "there is a load"),
        (result.prompt >= 0.95, f"what is healthy is delivered within {PROMPT:g} s"),
        (result.slowest < 0.05, "no call waits for a broker"),
        (not result.lost, "nothing is lost unseen"),
        (not (keeps and result.dropped), "nothing is dropped that can wait in the outbox"),
        (not result.disorder, "the records of a key arrive in order"),
        (not (keeps and result.twice), "nothing arrives twice"),
        (not result.strange, "only what is sick waits in the outbox"),
        (result.healed <= 10, "what waited is delivered within 10 s"),
        ("Kafka takes no records" not in result.lines, "the cluster is not said to be away"),
        (_are_told(result.lines), "each topic's trouble, and its end, is said once"),
    ):
        if not is_kept:
            yield f"{result.way}: broken: {promise}"


def _said(lines: str) -> Counter[str]:
    """What we said of the cluster, and how often, without the numbers in it."""
    ours = [line for line in lines.splitlines() if " otel_kafka_exporter: " in line and "records dropped" not in line]
    return Counter(re.sub(r"; last error.*|\[[\d, ]*\]|\d+", "", line) for line in ours)


def _ends(lines: str) -> list[str]:
    return [line for line in _said(lines) if " again" in line and "again and again" not in line]


def _are_told(lines: str) -> bool:
    """Whether a fault's beginning and its end are said, and nothing is said again and again."""
    said = _said(lines)
    return len(said) > len(_ends(lines)) > 0 and max(said.values()) == 1
