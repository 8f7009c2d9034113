"""How an examination is written for a person."""

from __future__ import annotations

from rich.cells import cell_len

from otel_kafka_exporter.cli.doctor.check import Check, Finding, Result, fail, ok, skipped, warn
from otel_kafka_exporter.cli.doctor.rendering import Rendering


def result(name: str, finding: Finding, because: str = "") -> Result:
    return Result(Check(name, lambda _: finding), finding, because=because)


RESULTS = [
    result("network.dns", ok("resolved")),
    result("network.tcp", fail("refused \x1b[31mred\n\u202e", "it means this", "do that")),
    result("tls.chain", skipped("because network.tcp failed"), "network.tcp"),
    result("tls.expiry", skipped("because network.tcp failed"), "network.tcp"),
    result("clock.offset", skipped("nothing tells the time")),
    result("outbox.space", warn("little", "soon full", "free some")),
]


def rendered(*, width: int | None = None, color: bool = False, verbose: bool = False) -> list[str]:
    written: list[str] = []
    Rendering(written.append, width=width, color=color, verbose=verbose).all(RESULTS)
    return "".join(written).splitlines()


def test_one_cause_is_named_and_the_others_do_not_shout() -> None:
    """A line a check; below a problem what it means, what to do and where it is described; skipped ones together."""
    assert rendered() == [
        "OK   network.dns         resolved",
        "FAIL network.tcp         refused red",
        "     it means this",
        "     Do: do that",
        "     docs/troubleshooting.md#network.tcp",
        "skip 2 checks            because network.tcp failed; of tls",
        "WARN outbox.space        little",
        "     soon full",
        "     Do: free some",
        "     docs/troubleshooting.md#outbox.space",
        "",
        "1 OK, 1 warning, 1 failed, 2 skipped because of a failure, 1 with nothing to look at (--verbose shows them)",
        "root cause: network.tcp: refused red",
    ]


def test_with_everything() -> None:
    """--verbose has a line for each check, in their order."""
    lines = [line for line in rendered(verbose=True) if line[:1] not in {" ", ""}]
    assert [line.split()[1] for line in lines[:6]] == [each.check.id for each in RESULTS]


def test_a_narrow_terminal() -> None:
    """No line is wider than the terminal, and no word is lost."""
    for width in (30, 60, 100):
        lines = rendered(width=width, verbose=True)
        assert max(map(cell_len, lines)) <= width
        words = " ".join(" ".join(line.split()) for line in lines)
        for word in ("it means this", "do that", "nothing tells", "soon full"):
            assert word in words


def test_styles_are_for_those_who_want_them() -> None:
    """There are escape sequences with colour, and none without; none of a text's own in either."""
    assert not any("\x1b" in line for line in rendered())
    lines = rendered(color=True)
    assert "\x1b[1;31mFAIL" in lines[1]
    assert not any("\x1b[31mred" in line or "\u202e" in line for line in lines)
