"""Which records match, and what decides over it."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_kafka_exporter.cli.tail.expression import pattern_of
from otel_kafka_exporter.cli.tail.fields import names
from otel_kafka_exporter.cli.tail.grammar import ExpressionError, parse
from otel_kafka_exporter.cli.tail.matching import early, lacks, needles_of, whole
from otel_kafka_exporter.cli.tail.selection import Filters, Selection, Verdict
from otel_kafka_exporter.records import Category
from otel_kafka_exporter.records.protobuf_encoding import PROTOBUF
from tests.strategies import json_value
from tests.tailing import ENCODINGS, TOPICS, record

CONTEXT: dict[str, Any] = {
    "status": 503,
    "ms": "12.5",
    "http.status_code": 404,
    "user": {"name": "ada", "geo.city": "Köln"},
    "paid": True,
    "none": None,
    "list": [1, "a"],
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("context.status>=500", True),
        ("context.status<500", False),
        ("context.status = 503", True),
        ("context.status = '503'", True),
        ("context.ms > 12", True),
        ("context.http.status_code = 404", True),
        ('context["http.status_code"] = 404', True),
        ("context.user.name = ada", True),
        ("context.user.geo.city = Köln", True),
        ("context.user.nobody = ada", False),
        ("context.user.name.more = ada", False),
        ("context.paid = true", True),
        ("context.paid = false", False),
        ("context.paid = 1", False),
        ("context.none = null", True),
        ("context.absent = null", True),
        ("context.absent != 5", True),
        ("context.absent < 5", False),
        ("context.absent", False),
        ("context.none", False),
        ("context.list ~ '\"a\"'", True),
        ('context ~ \'"name":"ada"\'', True),
        ("payload ~ '\"status\":503'", True),
        ("context", True),
        ("context.status > abc", False),
        ("level >= INFO and level < ERROR", True),
        ("level = warning", True),
        ("payload.level = WARN", True),
        ("service = shop and tenant = default and category = application", True),
        ("source ~ ^sh", True),
        ("key = shop and partition = 0 and offset >= 7", True),
        ("topic ~ application", True),
        ("header.x-tenant = default", True),
        ("header.nothing = default", False),
        ("timestamp >= 2026-11-25T22 and timestamp < 2026-11-26", True),
        ("actor != bob", True),
        ("actor = bob", False),
        ("code in (A, UNSPECIFIED)", True),
    ],
)
def test_a_condition_over_a_record(encoding: str, text: str, expected: bool) -> None:  # noqa: FBT001 - a case of two
    """Fields of envelope, payload, context and place are compared as what they are, in both encodings."""
    assert whole(parse(text))(record(encoding=ENCODINGS[encoding], context=CONTEXT, level="WARN", offset=7)) is expected


@pytest.mark.parametrize(
    ("filters", "categories"),
    [
        (Filters(), ["application", "audit", "security"]),
        (Filters(category=["audit"]), ["audit"]),
        (Filters(level="warn"), ["application"]),
        (Filters(actor=["bob"]), ["audit", "security"]),
        (Filters(query=[parse("decision=deny or level=ERROR")]), ["application", "security"]),
        (Filters(tenant=["acme"]), ["application", "audit", "security"]),
        (Filters(query=[parse("partition=3 and key=x")]), ["application", "audit", "security"]),
    ],
)
def test_topics_that_cannot_have_such_records_are_not_read(filters: Filters, categories: list[Category]) -> None:
    """A condition on a field that only some categories have leaves the others' topics alone."""
    found, _ = Selection(filters.expression()).by_topic(TOPICS)
    assert found == categories


@pytest.mark.parametrize(
    ("text", "decided"),
    [
        ("tenant = acme", False),
        ("tenant = default", True),
        ("correlation_id ~ ^nothing", False),
        ("category = audit", False),
        ("category = application and tenant != default", False),
        ("context.status > 5 and tenant = acme", False),
        ("context.status > 5 or tenant = default", True),
        ("context.status > 5", None),
        ("context.status > 5 and tenant = default", None),
        ("not tenant = default", False),
        ("actor", False),
        ("key = shop and partition = 0", True),
    ],
)
def test_headers_key_and_place_decide_before_anything_is_decoded(text: str, decided: bool | None) -> None:  # noqa: FBT001 - of three
    """What the headers, the key or the place tell costs no decoding; None is what they leave open."""
    undecoded = record(decoded=False)
    assert early(parse(text))(undecoded) is decided
    assert undecoded.envelope is None


def test_without_headers_the_value_decides() -> None:
    """A record of another writer, without our headers, is decoded, and not passed over."""
    selection = Selection(Filters(tenant=["acme"], category=["application"]).expression())
    assert selection.decide(record(headers=False, decoded=False, tenant_id="acme")) is Verdict.YES
    assert selection.decide(record(headers=False, decoded=False)) is Verdict.NO


_texts = st.sampled_from(
    ["acme", "a", "bob", "shop", "INFO", "ERROR", "order.delete", 'q"uote', "back\\slash", "größer", "5"]
)
_fields = st.sampled_from(
    ["tenant", "service", "logger", "code", "actor", "action", "message", "resource", "outcome", "key", "category"]
)
_categories: st.SearchStrategy[Category] = st.sampled_from(["application", "audit", "security"])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_operators, _levels = st.sampled_from(["=", "<", ">="]), st.sampled_from(["INFO", "ERROR", "fatal"])
_condition = st.one_of(
    st.builds(lambda name, text: f"{name} = {_quoted(text)}", _fields, _texts),
    st.builds(lambda operator, level: f"level {operator} {level}", _operators, _levels),
    st.just("context.n = acme"),
)
_expression = st.recursive(
    _condition,
    lambda inner: st.one_of(
        st.builds(lambda a: f"not ({a})", inner),
        st.builds(lambda a, b: f"({a}) and ({b})", inner, inner),
        st.builds(lambda a, b: f"({a}) or ({b})", inner, inner),
    ),
    max_leaves=6,
)


@given(_expression, _categories, _texts, st.sampled_from(["INFO", "ERROR"]), st.sampled_from(list(ENCODINGS)))
def test_what_decides_early_decides_as_the_value_would(
    text: str, category: Category, value: str, level: str, encoding: str
) -> None:
    """Neither headers nor bytes ever pass over a record that matches, or let one in that does not."""
    payload: dict[str, Any] = (
        {"level": level, "logger": value, "message": value, "code": value}
        if category == "application"
        else ({"actor": value, "action": value} if category == "audit" else {"user_id": value, "resource": value})
    )
    each = record(category, tenant_id=value, context={"n": value}, encoding=ENCODINGS[encoding], **payload)
    expression = parse(text)
    expected = whole(expression)(each)
    assert early(expression)(each) in (None, expected)
    if expected:
        assert each.value is not None
        assert not lacks(needles_of(expression), each.value)
    categories, left = Selection(expression).by_topic(TOPICS)
    undecoded = record(category, tenant_id=value, context={"n": value}, encoding=ENCODINGS[encoding], **payload)
    assert (category in categories and left.decide(undecoded) is Verdict.YES) is expected


_parts = st.sampled_from(
    [
        *names(),
        *("context.n", "context.a.b", "context.list", "context.nobody", 'context["a.b"]', "context.a.b.c"),
        *("payload", "payload.level", "payload.context", "payload.context.n", "payload.nobody"),
    ]
)
_values = st.one_of(_texts.map(_quoted), st.sampled_from(["5", "2026", "true", "null", "WARN"]))
_any_condition = st.one_of(
    st.builds(lambda name, operator, value: f"{name} {operator} {value}", _parts, _operators, _values),
    st.builds(lambda name, pattern: f"{name} ~ {pattern}", _parts, st.sampled_from(["a", "^.a", "5", "[[]", "null"])),
    _parts,
)
_context = st.dictionaries(st.sampled_from(["n", "a", "b", "a.b", "list", "q"]), json_value, max_size=4)
_patterns = st.lists(st.sampled_from(["a", "n=", "5", "true", "b.:", "größ"]).map(re.compile), max_size=2)


@given(
    st.one_of(
        st.sampled_from(["acme", "nacme", "facme", "acm", "success", "deny", "true", "null", "inf", "shop"]),
        st.text("abefnrtu", min_size=3, max_size=4),
    ),
    _categories,
    st.recursive(
        st.sampled_from(["\nacme", "\x1facme", "a\tacme", "\b\b\f", True, None, float("inf"), "acm"]),
        lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.just("\nacme"), inner)),
        max_leaves=3,
    ),
    st.sampled_from(list(ENCODINGS)),
)
@example("nacme", "application", ["\nacme"], "protobuf")
@example("success", "audit", None, "protobuf")
def test_letters_that_are_found_stand_in_the_bytes(letters: str, category: Category, value: Any, encoding: str) -> None:
    """What a pattern of letters alone is found in has these in its bytes, escaped or not: it is not passed over."""
    expression = Filters(grep=[re.compile(letters)]).expression()
    assert expression is not None
    each = record(category, context={"n": value}, encoding=ENCODINGS[encoding])
    assert each.value is not None
    found = whole(expression)(each)
    assert not (found and lacks(needles_of(expression), each.value))
    assert not (found and lacks(needles_of(expression), b" " + each.value))


@given(
    st.text("abn.?*+|^$ \\()[]{}1:!x", min_size=3, max_size=12),
    st.text("abn\n|.", min_size=1, max_size=8),
    st.sampled_from(list(ENCODINGS)),
)
@example("acme?|nab", "acm", "json")
@example(r"abb\|abn", "abn", "json")
@example(r"abb\\|abn", "abn", "protobuf")
@example(r"\babn*b", "abb", "protobuf")
@example("(abn)?abb", "abb", "json")
@example("(abn|abb){1}", "abb", "json")
@example("(?:abn|abb)", "abb", "protobuf")
@example("(?!abn)abb", "abb", "json")
@example("[abn]|b", "b", "json")
@example("[]abn]", "b", "json")
@example("[^]abn)(]", "|", "json")
@example(r"[\]abn]", "a", "json")
@example("abn{0}abb", "ababb", "json")
@example("((abn)|(abb))", "abb", "json")
@example(r"\x61bnb", "abnb", "json")
@example(r"\(abn\)", "(abn)", "json")
def test_letters_of_a_pattern_stand_in_the_bytes(pattern: str, value: str, encoding: str) -> None:
    """The same of the letters in a pattern of which it is not found without."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of sets within sets
            expression = Filters(grep=[re.compile(pattern)]).expression()
    except (re.error, OverflowError):
        return
    assert expression is not None
    each = record(context={"n": [value], "m": value}, encoding=ENCODINGS[encoding])
    assert each.value is not None
    assert not (whole(expression)(each) and lacks(needles_of(expression), each.value))


@pytest.mark.parametrize(
    "pattern",
    [
        "timeout",
        "no.?body",
        r"user=alicia",
        "timeouts?",
        r"after \d+ms: refused$",
        "timeout|refused",
        "(timeout|refused)",
        "(no|any)[ -]?bodies{2}",
    ],
)
def test_letters_are_looked_for_in_the_bytes_of_both_encodings(pattern: str) -> None:
    """What does not stand in the value's bytes costs no decoding."""
    expression = Filters(grep=[re.compile(pattern)]).expression()
    assert expression is not None
    for encoding in ENCODINGS.values():
        each = record(encoding=encoding, decoded=False)
        assert Selection(expression).decide(each) is Verdict.NO
        assert each.view is None


@pytest.mark.parametrize(
    "pattern",
    ["(?i)timeout", "timeout|", "to(out)?", "[timeout]", "tim?e?o", "abc{0}", r"\x41bcd", "(?!timeout)", "(timeout|)"],
)
def test_what_may_be_found_otherwise_is_decoded(pattern: str) -> None:
    """A pattern without letters that always have to be there is searched in what is decoded."""
    expression = Filters(grep=[re.compile(pattern)]).expression()
    assert expression is not None
    assert not needles_of(expression)


@given(st.lists(_any_condition, max_size=2), _patterns, _categories, _texts, _context)
def test_what_is_looked_at_matches_as_what_is_decoded(
    texts: list[str], patterns: list[re.Pattern[str]], category: Category, value: str, context: dict[str, Any]
) -> None:
    """Whatever is asked for, a Protobuf value of which parts are read is the same as one that is decoded."""
    try:
        query = [parse(text) for text in texts]
    except ExpressionError:  # of a level, compared with something else
        return
    name = "message" if category == "application" else "resource"
    changes: dict[str, Any] = {
        name: value,
        "tenant_id": value,
        "context": context,
        "event_id": "e-5",
        "encoding": PROTOBUF,
    }
    filters = Filters(query=query, grep=patterns[:1], exclude=patterns[1:]).expression() or parse("level")
    looked_at, decoded = (record(category, decoded=decoded, **changes) for decoded in (False, True))
    assert looked_at.look()
    decoded.view = decoded.envelope
    assert whole(filters)(looked_at) is whole(filters)(decoded)
    assert looked_at.envelope is None
    assert looked_at.decode()
    assert looked_at.envelope == decoded.envelope


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(service=["sh*"]), True),
        (Filters(service=["*x*", "shop"]), True),
        (Filters(service=["s?"]), False),
        (Filters(service=["shop"], logger=["other"]), False),
        (Filters(level="error"), False),
        (Filters(level="info"), True),
        (Filters(correlation_id=["4bf92f3577b34da6a3ce929d0e0e4736"]), True),
        (Filters(correlation_id=["4bf92f35-77b3-4da6-a3ce-929d0e0e4736"]), True),
        (Filters(correlation_id=["0e0e4736"]), True),
        (Filters(correlation_id=["4bf92f"]), True),
        (Filters(correlation_id=["4736"]), False),
        (Filters(correlation_id=["77b34d"]), False),
    ],
)
def test_the_options_for_filtering(filters: Filters, expected: bool) -> None:  # noqa: FBT001 - a case of two
    """Each option narrows; of one that is given twice either counts; a correlation ID may be abbreviated."""
    expression = filters.expression()
    assert expression is not None
    assert whole(expression)(record(correlation_id="4bf92f35-77b3-4da6-a3ce-929d0e0e4736")) is expected


def test_grep_finds_what_a_person_reads() -> None:
    """Message, the fields of an event, and the context's keys and values are searched; IDs are not."""

    def greps(pattern: str, category: Category = "application") -> bool:
        selection = Selection(Filters(grep=[re.compile(pattern)]).expression())
        each = record(category, decoded=False, context={"customer": "c-9", "tags": ["blue"]})
        return selection.decide(each) is Verdict.YES

    assert all(map(greps, ["stock.*low", "customer=c-9", "blue", "^shop.orders$"]))
    assert greps("^bob$", "audit")
    assert greps("deny", "security")
    assert not greps("omninode")
    assert not greps("Stock")
    assert greps("(?i)STOCK")


def test_python_warns_nobody_of_a_pattern() -> None:
    """A pattern that Python may understand otherwise one day is used as it is, and nobody reads about that."""
    assert pattern_of("[[a]").search("[")
    parse("message ~ '[[a]'")
