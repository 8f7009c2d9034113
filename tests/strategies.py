"""Hypothesis strategies: values of every kind that applications log, and records made of them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from typing import Any, NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tests.records import AUDIT, SECURITY, SPAN_ID, TIME, TRACE_ID, hand_made

#: Quick enough to run with every commit; no database, because the examples belong to nobody's working copy.
QUICK = settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))

#: A secret that no strategy makes by chance.
SECRET = "hunter2-3f9c0d"

SENSITIVE_KEYS = (
    *("password", "db.password", "x-auth-token", "clientSecret", "aws_secret_access_key", "API_KEY", "email"),
    *("Authorization", "cookie", "session", "jwt", "ssn", "credit_card", "privateKey", b"password", ("token",)),
)


@dataclasses.dataclass
class Login:
    """Something with a field that is sensitive by its name."""

    user: str
    password: Any


class Pair(NamedTuple):
    """Something with a sensitive field that is a tuple too."""

    token: Any
    other: Any


class Rude:
    """Something that raises when it is asked for its text; a report of a failed test may still show it."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error

    def __str__(self) -> str:
        raise self._error

    def __repr__(self) -> str:
        return f"Rude({self._error.__name__})"


#: Any code point, lone surrogates and NUL included.
any_text = st.text(st.characters(exclude_categories=()), max_size=20)
clean_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
long_text = st.builds(
    lambda part, times: part * times,
    st.sampled_from(["x", "é", "\x01", "\0", "\ud800", "\\", '"', "\U0001f600", "word "]),
    st.sampled_from([0, 100, 1_000, 10_000, 70_000]),
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 2**200, 10**4_000]),
    st.floats(),
    any_text,
    st.binary(max_size=20),
    st.builds(bytearray, st.binary(max_size=5)),
    st.binary(max_size=5).map(lambda data: memoryview(data)),  # noqa: PLW0108 - mypy cannot solve the class itself
    st.just(uuid.UUID(int=7)),
    st.just(decimal.Decimal("1.50")),
    st.just(dt.datetime(2024, 1, 2, tzinfo=dt.timezone.utc)),
    st.just(range(3)),
    st.frozensets(st.integers(0, 9), max_size=3),
    st.builds(Rude, st.sampled_from([ValueError, SystemExit, RecursionError])),
    st.just(object()),
)

any_key = st.one_of(
    any_text, st.integers(0, 2), st.booleans(), st.none(), st.binary(max_size=3), st.tuples(st.integers())
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(any_key, inner, max_size=4),
        st.builds(Login, any_text, st.just(SECRET)),
        st.builds(Pair, st.just(SECRET), inner),
    )


any_value = st.recursive(scalars, _containers, max_leaves=12)


def _with_secrets(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    secret = st.sampled_from([SECRET, [SECRET], {"a": SECRET}, (SECRET, {SECRET: 1}), SECRET.encode()])
    sensitive = st.dictionaries(st.sampled_from(SENSITIVE_KEYS), secret, min_size=1, max_size=2)
    return st.one_of(_containers(inner), sensitive, st.builds(lambda a, b: {**a, "more": b}, sensitive, inner))


#: Values with `SECRET` under sensitive keys, and nowhere else.
value_with_secrets = st.recursive(scalars, _with_secrets, max_leaves=12)


def _plain_containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    sensitive = [key for key in SENSITIVE_KEYS if isinstance(key, str)]
    secrets = st.dictionaries(
        st.sampled_from(sensitive), st.sampled_from([SECRET, [SECRET], {"a": SECRET}]), min_size=1
    )
    return st.one_of(st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(any_text, inner), secrets)


#: The same of types that the SDK does not make text or lists of before an exporter sees them.
sdk_value_with_secrets = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), any_text, st.binary(max_size=20)),
    _plain_containers,
    max_leaves=8,
)

json_value = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        clean_text,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(clean_text, inner, max_size=4)),
    max_leaves=12,
)

_OMNI = (
    *("omni.category", "omni.tenant_id", "omni.correlation_id", "omni.causation_id", "omni.code", "log.record.uid"),
    *("omni.audit.action", "omni.audit.outcome", "otel.severity_text", "otel.event.name", "message", "otel.body"),
)
_attribute_names = st.one_of(any_text, st.sampled_from(_OMNI), any_key)
_base_attributes = st.sampled_from([{}, {}, AUDIT, SECURITY])


def _merged(base: dict[str, Any], more: dict[Any, Any]) -> dict[Any, Any]:
    return {**base, **more}


def attributes(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[Any, Any]]:
    """Attributes of records of all categories, some of them wrong."""
    return st.builds(_merged, _base_attributes, st.dictionaries(_attribute_names, values, max_size=5))


def records(values: st.SearchStrategy[Any], *, texts: st.SearchStrategy[str] = any_text) -> st.SearchStrategy[Any]:
    """Hand-made records with these values as attributes and bodies, and fields of every type."""
    resources = st.builds(
        Resource,
        st.dictionaries(
            st.sampled_from(["service.name", "service.instance.id", "omni.tenant_id"]),
            st.one_of(any_text, st.just("x" * 257), st.just("shop")),
        ),
    )
    return st.builds(
        hand_made,
        attributes(values),
        resource=resources,
        scope=st.one_of(st.none(), st.builds(InstrumentationScope, any_text)),
        body=st.one_of(values, texts),
        event_name=st.one_of(st.none(), texts, st.sampled_from(["omni.audit", "omni.security"]), scalars),
        severity_number=st.one_of(st.none(), st.integers(-1, 30), scalars),
        severity_text=st.one_of(st.none(), st.sampled_from(["DEBUG", "warning", "FATAL"]), any_text, scalars),
        timestamp=st.one_of(st.just(TIME), st.none(), st.integers(), scalars),
        observed_timestamp=st.one_of(st.just(TIME), st.just(TIME), scalars),
        trace_id=st.sampled_from([0, TRACE_ID, 2**128, -1, None, "x"]),
        span_id=st.sampled_from([0, SPAN_ID, 2**64, -1, None, "x"]),
        trace_flags=st.sampled_from([0, 1, 3, 256, None, "x"]),
    )


class Hostile:
    """Raises whatever is asked of it."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __str__(self) -> str:
        raise self._error

    __repr__ = __str__

    def __hash__(self) -> int:
        raise self._error

    def __eq__(self, other: object) -> bool:
        raise self._error

    @property
    def __class__(self) -> Any:
        raise self._error

    @__class__.setter
    def __class__(self, value: Any) -> None: ...


class Shouting(str, enum.Enum):
    LOUD = "loud"

    def __str__(self) -> str:
        raise SystemExit


hostile_value = st.one_of(
    any_value,
    st.just(Shouting.LOUD),
    st.builds(Hostile, st.sampled_from([ValueError(), SystemExit(), RecursionError(), GeneratorExit()])),
)
