"""Running `otel-kafka doctor` within the test's process, and what it found."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from tests.functional.tails import tail

SERVERS, PROPERTIES = "OTEL_EXPORTER_KAFKA_BOOTSTRAP_SERVERS", "OTEL_EXPORTER_KAFKA_PRODUCER_CONFIG"


class Examined(NamedTuple):
    """What `--json` has left.

    Attributes:
        code: the exit code.
        document: all of stdout.
        errors: stderr.
    """

    code: int
    document: dict[str, Any]
    errors: str

    @property
    def root_cause(self) -> str | None:
        found: str | None = self.document["root_cause"]
        return found

    def check(self, name: str) -> dict[str, Any]:
        [found] = [each for each in self.document["checks"] if each["id"] == name]
        return dict(found)

    def status(self, name: str) -> str:
        return str(self.check(name)["status"])

    def ids(self, *statuses: str) -> list[str]:
        return [each["id"] for each in self.document["checks"] if each["status"] in statuses]

    def one_cause(self, name: str, *words: str) -> dict[str, Any]:
        """The one failure, which has to be this one; what stands on it was skipped because of it, and nothing else."""
        assert self.ids("fail") == [name], [each for each in self.document["checks"] if each["status"] != "ok"]
        assert (self.root_cause, self.code) == (name, 1)
        found = self.check(name)
        for word in words:
            assert word in f"{found['text']} {found['todo']}", found
        assert found["means"]
        assert found["todo"]
        assert found["doc"] == f"docs/troubleshooting.md#{name}"
        assert "librdkafka" not in self.errors
        assert {each["because"] for each in self.document["checks"]} <= {name, None}
        return found


def examine(servers: str, *arguments: str, properties: str = "", **variables: str) -> Examined:
    """Run it with `--json` in front of a cluster."""
    given = {SERVERS: servers, PROPERTIES: properties, **variables}
    done = tail("--json", "--timeout", "5s", *arguments, command=("doctor",), **given)
    return Examined(done.code, json.loads(done.output), done.errors)
