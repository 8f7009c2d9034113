"""The table of reasons in docs/delivery.md is complete: it has every reason that the code can count, and no other.

The reasons are found in the source: from where a drop is counted (`….dropped[reason] = n`) back to the texts that can
arrive there, through parameters, variables, attributes and results, each by its name. That finds too much rather than
too little; a step that it cannot take back is a failure, so that no reason slips by.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeGuard

import pytest

import otel_kafka_exporter
from otel_kafka_exporter.kafka.errors import TABLE

ROOT = Path(__file__).parents[2]
#: Functions that are handed over under another name, and called by that.
ALIASES = {"_lost": "on_loss"}
#: A row's reason is what was written with it: that of a dead letter, which is found where it is written.
READ_BACK = {"Row"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Step = tuple[ast.expr, Function | None]


class Source:
    """The package's source, and the way back from an expression to the texts that it can be."""

    def __init__(self, texts: list[str]) -> None:
        self.functions: list[tuple[str, Function]] = []  # with the name that they are called by
        self.fields: list[tuple[str, list[str]]] = []
        self.calls: list[tuple[ast.Call, Function | None]] = []
        self.assignments: list[tuple[ast.expr, ast.expr, Function | None]] = []  # target, value
        self.loops: list[tuple[str, Function | None]] = []
        self.counted: list[Step] = []
        self.trees = [ast.parse(text) for text in texts]
        for tree in self.trees:
            self._read(tree, None, "")

    def _read(self, node: ast.AST, within: Function | None, of_class: str) -> None:
        for child in ast.iter_child_nodes(node):
            inside, name = within, of_class
            if isinstance(child, ast.ClassDef):
                inside, name = None, child.name
                self.fields.append(
                    (name, [name_of(each.target) for each in child.body if isinstance(each, ast.AnnAssign)])
                )
            elif isinstance(child, Function):
                inside = child
                self.functions.append((of_class if child.name == "__init__" else child.name, child))
            elif isinstance(child, ast.Call):
                self.calls.append((child, within))
            elif isinstance(child, ast.Assign):
                self.assignments += [(target, child.value, within) for target in child.targets]
                self.counted += [(target.slice, within) for target in child.targets if is_counter(target)]
            elif isinstance(child, (ast.AnnAssign, ast.NamedExpr)) and child.value is not None:
                self.assignments.append((child.target, child.value, within))
            elif isinstance(child, (ast.For, ast.AsyncFor)):
                self.loops += [(name_of(each), within) for each in ast.walk(child.target) if isinstance(each, ast.Name)]
            elif isinstance(child, ast.AugAssign) and is_counter(child.target):
                self.counted.append((child.target.slice, within))
            self._read(child, inside, name)

    def reasons(self) -> set[str]:
        """All that can be counted."""
        found: set[str] = set()
        seen: set[tuple[int, int]] = set()
        steps = list(self.counted)
        while steps:
            step = steps.pop()
            if (id(step[0]), id(step[1])) in seen:
                continue
            seen.add((id(step[0]), id(step[1])))
            if isinstance(step[0], ast.Constant):
                found.add(str(step[0].value))
            elif isinstance(step[0], ast.JoinedStr):
                found.add("".join(part_of_text(part) for part in step[0].values))
            else:
                before = list(self._before(*step))
                assert before, f"no way back from {ast.unparse(step[0])}, in {step[1] and step[1].name}"
                steps += before
        return found - {""}

    def _before(self, value: ast.expr, within: Function | None) -> Iterator[Step]:
        if isinstance(value, ast.BoolOp):
            yield from ((each, within) for each in value.values)
        elif isinstance(value, ast.IfExp):
            yield from ((each, within) for each in (value.body, value.orelse))
        elif isinstance(value, ast.GeneratorExp):
            yield value.elt, within
        elif isinstance(value, ast.Attribute):
            yield from self._assigned(value.attr)
        elif isinstance(value, ast.Call) and called(value) == "next":
            yield from ((each, within) for each in value.args)
        elif isinstance(value, ast.Call):
            yield from self._returned(called(value))
        elif isinstance(value, ast.Name):
            yield from self._named(value.id, within)

    def _named(self, name: str, within: Function | None) -> Iterator[Step]:
        if within is not None and name in parameters(within):
            yield from self._given(within, name)
        assert (name, within) not in self.loops, f"no way back from {name}, which a loop sets"
        local = [each for each in self.assignments if each[2] is within] if within is not None else []
        for target, value, where in local:
            if isinstance(target, ast.Name) and target.id == name:
                yield value, where
            elif isinstance(target, ast.Tuple):
                for at, element in enumerate(target.elts):
                    if isinstance(element, ast.Name) and element.id == name:
                        yield from self._element(value, at, where)
        for target, value, where in self.assignments:  # a constant, of whichever module
            if where is None and isinstance(target, ast.Name) and target.id == name:
                yield value, None

    def _element(self, value: ast.expr, at: int, within: Function | None) -> Iterator[Step]:
        if isinstance(value, ast.Tuple):
            yield value.elts[at], within
        elif isinstance(value, ast.Subscript):
            queue = name_of(value.value)
            for call, where in self.calls:
                into = call.func.value if isinstance(call.func, ast.Attribute) else call.func
                if called(call) == "append" and name_of(into) == queue:
                    yield from self._element(call.args[0], at, where)
        elif isinstance(value, ast.Call):
            results = list(self._returned(called(value)))
            assert results, f"no way back into {ast.unparse(value)}"
            for result, where in results:
                yield from self._element(result, at, where)
        else:
            raise AssertionError(f"no way back into {ast.unparse(value)}")

    def _assigned(self, attribute: str) -> Iterator[Step]:
        for target, value, within in self.assignments:
            if isinstance(target, ast.Attribute) and target.attr == attribute:
                yield value, within
        for name, fields in self.fields:
            if attribute in fields and name not in READ_BACK:
                yield from self._arguments(name, fields, attribute)

    def _given(self, function: Function, name: str) -> Iterator[Step]:
        names, default = parameters(function), default_of(function, name)
        for called_by, each in self.functions:
            if each is function:
                yield from self._arguments(ALIASES.get(called_by, called_by), names, name)
        if default is not None:
            yield default, None

    def _arguments(self, function: str, names: list[str], name: str) -> Iterator[Step]:
        for call, within in self.calls:
            if called(call) != function:
                continue
            assert not any(isinstance(each, ast.Starred) for each in call.args), ast.unparse(call)
            assert all(each.arg for each in call.keywords), ast.unparse(call)
            at = names.index(name)
            if at < len(call.args):  # else it is another function of this name, or the default
                yield call.args[at], within
            yield from ((each.value, within) for each in call.keywords if each.arg == name)

    def _returned(self, function: str) -> Iterator[Step]:
        for name, each in self.functions:
            if name == function:
                yield from (
                    (node.value, each)
                    for node in ast.walk(each)
                    if isinstance(node, ast.Return) and node.value is not None
                )


def is_counter(target: ast.expr) -> TypeGuard[ast.Subscript]:
    return isinstance(target, ast.Subscript) and name_of(target.value) == "dropped"


def called(call: ast.Call) -> str:
    return name_of(call.func)


def name_of(node: ast.expr) -> str:
    """The last name of `a.b.c`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def parameters(function: Function) -> list[str]:
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def default_of(function: Function, name: str) -> ast.expr | None:
    positional = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    defaults = dict(zip(reversed(positional), reversed(function.args.defaults), strict=False))
    only = zip((each.arg for each in function.args.kwonlyargs), function.args.kw_defaults, strict=True)
    return defaults.get(name) or dict(only).get(name)


def part_of_text(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else f"<{name_of(part.value)}>"  # type: ignore[attr-defined]


@cache
def source() -> Source:
    package = Path(otel_kafka_exporter.__file__).parent
    return Source([path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))])


def documented() -> list[str]:
    """The first column of the table whose first heading is `reason`."""
    page = (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")
    [table] = re.findall(r"^\| reason \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    return [reason for line in table.splitlines() for reason in re.findall("`([^`]+)`", line.split("|")[1])]


def test_the_table_has_every_reason_that_the_code_can_count() -> None:
    """A reason without a line in the table, a line without a reason, and a reason with two lines are found."""
    assert sorted(documented()) == sorted(source().reasons())


def test_the_reasons_of_the_table_of_error_codes_are_among_those_found() -> None:
    """The way back through the source ends at the table of error codes, too."""
    assert {verdict.reason for verdict in TABLE.values()} <= source().reasons()


def test_only_one_page_has_a_table_of_reasons() -> None:
    """Other pages link to it."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    with_one = [
        page for page in pages if re.search(r"^\| reason \|.*\n\|-", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert [page.name for page in with_one] == ["delivery.md"]


def test_drops_are_counted_in_no_other_way() -> None:
    """A counter of drops is only ever increased by its reason: what would do that otherwise is not followed here."""
    found = source()
    for call, _ in found.calls:
        assert not (called(call) in ("update", "subtract") and ".dropped." in ast.unparse(call.func)), ast.unparse(call)
    assert found.counted


@pytest.mark.parametrize(
    "way",
    [
        "def f(ledger): ledger.dropped['new'] += 1",
        "def f(ledger, reason): ledger.dropped[reason] += 1\nf(1, reason='new')",
        "def f(ledger, reason='new'): ledger.dropped[reason] += 1\nf(1)",
        "NEW = 'new'\nclass C:\n    def f(self, x): self.dropped[x or ''] += 1\n    def g(self): self.f(NEW)",
        "class C:\n    why: str\nC('new')\ndef f(s, c): s.dropped[c.why] += 1",
        "def g(): return 1, 'new'\ndef f(s):\n    _, why = g()\n    s.dropped[why] += 1",
        "def g(q): q.later.append((1, 'new'))\ndef f(s, q):\n    _, why = q.later[0]\n    s.dropped[why] += 1",
    ],
)
def test_a_new_reason_is_found(way: str) -> None:
    """Whichever way a text takes to where drops are counted."""
    assert Source([way]).reasons() == {"new"}


@pytest.mark.parametrize(
    "way",
    [
        "def f(ledger): ledger.dropped[open('reason').read()] += 1",
        "def f(ledger, new):\n    why = 'known'\n    for why in new: ledger.dropped[why] += 1",
        "def f(ledger, reason): ledger.dropped[reason] += 1",
    ],
)
def test_a_reason_from_nowhere_is_a_failure(way: str) -> None:
    """What cannot be followed does not pass for nothing."""
    with pytest.raises(AssertionError, match="no way back"):
        Source([way]).reasons()
