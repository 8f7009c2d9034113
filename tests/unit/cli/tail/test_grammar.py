"""The language of `-q`."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.cli.tail.expression import And, Comparison, Expression, Match, Not, Or, Present
from otel_kafka_exporter.cli.tail.fields import field
from otel_kafka_exporter.cli.tail.grammar import ExpressionError, parse
from otel_kafka_exporter.cli.tail.matching import whole
from tests.tailing import record

LEVEL, STATUS = field("level"), field("context.status")


def test_and_binds_closer_than_or() -> None:
    """`a or b and c` is `a or (b and c)`; parentheses and `not` are as everywhere."""
    a, b, c = (Comparison(field(name), "=", "x") for name in ("code", "logger", "actor"))
    assert parse("code=x or logger=x and actor=x") == Or((a, And((b, c))))
    assert parse("(code=x || logger=x) && !actor=x") == And((Or((a, b)), Not(c)))
    assert parse("not code=x AND logger = x") == And((Not(a), b))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("level>=warn", Comparison(LEVEL, ">=", "WARN")),
        ("level = 'warning'", Comparison(LEVEL, "=", "WARNING")),
        ("context.status >= 5e2", Comparison(STATUS, ">=", 500.0)),
        ("context.status==true", Comparison(STATUS, "=", value=True)),
        ("context.status != null", Not(Comparison(STATUS, "=", None))),
        ('context.status = "500"', Comparison(STATUS, "=", "500")),
        ("context.status = 10.1.2.3", Comparison(STATUS, "=", "10.1.2.3")),
        ('context.status in (500, "a b")', Or((Comparison(STATUS, "=", 500.0), Comparison(STATUS, "=", "a b")))),
        ("context.status not in (500)", Not(Comparison(STATUS, "=", 500.0))),
        (r'message ~ "time.?out \d+"', Match(field("message"), re.compile(r"time.?out \d+"))),
        (r"message !~ 'it\'s'", Not(Match(field("message"), re.compile("it's")))),
        ("actor", Present(field("actor"))),
        ('context["a b"].c', None),
    ],
)  # fmt: skip
def test_what_is_compared_with_what(text: str, expected: Expression | None) -> None:
    """Values are numbers, words, texts in quotes, true, false and null; levels are levels."""
    if expected is None:
        with pytest.raises(ExpressionError):
            parse(text)
        return
    found = parse(text)
    assert _plain(found) == _plain(expected)


def _plain(expression: Any) -> Any:
    """With fields by their names: their functions are made anew each time."""
    if isinstance(expression, (Comparison, Match, Present)):
        return (type(expression), expression.field.name, *expression[1:])
    if isinstance(expression, tuple):
        return (type(expression), *map(_plain, expression))
    return expression


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 0, "expected a field such as level or context.status, got the end"),
        ("levl>=WARN", 0, "expected a field, got 'levl'. Did you mean level?"),
        ("level>=WARN and statuses=5", 16, "expected a field, got 'statuses'. Is it context.statuses?"),
        ("level>=LOUD", 7, "expected a level (DEBUG, INFO, WARN, ERROR), got 'LOUD'"),
        ("level>=", 7, "expected a value, got the end"),
        ("context.status >= and", 18, "expected a value, got 'and'"),
        ("code in (A, or)", 12, "expected a value, got 'or'"),
        ("code ~ not", 7, "expected a regular expression, got 'not'"),
        ("(level=INFO", 11, "expected ')', got the end"),
        ("level=INFO)", 10, "expected 'and', 'or' or the end, got ')'"),
        ("level=INFO code=5", 11, "expected 'and', 'or' or the end, got 'code'"),
        ("level INFO", 6, "expected an operator such as = or >=, got 'INFO'"),
        ('message ~ "(', 10, "expected the closing quote"),
        ('message ~ "("', 10, "expected a regular expression"),
        ("code in 5", 8, "expected '(', got '5'"),
        ("code = a | b", 9, "unexpected '|'"),
        ("context.", 0, "expected a field, got 'context.'"),
        ("not " * 60 + "code=5", 200, "expected at most 50 levels of nesting"),
    ],
)
def test_a_wrong_one_says_where_and_what_was_expected(text: str, position: int, words: str) -> None:
    """The error names the character, shows it under the text, and says what would be right there."""
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert words in str(caught.value)
    assert caught.value.position == position
    said, shown, mark = str(caught.value).splitlines()
    assert said.startswith(f"at character {position + 1}: ")
    assert (shown[2:], mark.index("^")) == (text, position + 2)


@given(st.text(st.sampled_from("level>=WARN!~()\"'and or not in , context.[] \x1b\n5"), max_size=40))
def test_no_text_is_a_traceback(text: str) -> None:
    """Any text is an expression that can be evaluated, or the one error, on lines that can be shown."""
    found = _parsed(text)
    if isinstance(found, ExpressionError):
        assert 0 <= found.position <= len(text)
        assert all(line.isprintable() for line in str(found).split("\n"))
    else:
        assert whole(found)(record()) in (True, False)


def _parsed(text: str) -> Expression | ExpressionError:
    try:
        return parse(text)
    except ExpressionError as error:
        return error


_atoms = st.sampled_from([("level>=WARN", False), ("code=UNSPECIFIED", True), ("actor", False), ("message~low", True)])


def _joined(inner: st.SearchStrategy[tuple[str, bool]]) -> st.SearchStrategy[tuple[str, bool]]:
    return st.one_of(
        st.builds(lambda a: (f"not ({a[0]})", not a[1]), inner),
        st.builds(lambda a, b: (f"({a[0]}) and ({b[0]})", a[1] and b[1]), inner, inner),
        st.builds(lambda a, b: (f"({a[0]}) or ({b[0]})", a[1] or b[1]), inner, inner),
    )


@given(st.recursive(_atoms, _joined, max_leaves=8))
def test_a_condition_means_what_it_says(condition: tuple[str, bool]) -> None:
    """However conditions are combined, the whole is true of a record when logic says so."""
    text, expected = condition
    assert whole(parse(text))(record()) is expected
