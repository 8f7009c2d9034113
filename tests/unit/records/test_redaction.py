"""Which keys are sensitive, and what the pattern pass finds."""

from __future__ import annotations

import functools
import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.records.redaction import REDACTED, KeyRedaction, words
from otel_kafka_exporter.records.secret_texts import hide_userinfo, redact_patterns
from tests.strategies import QUICK, any_text

ROOT = Path(__file__).parents[3]
_RULE = re.compile(r"\| (?P<rule>[^|`]+) \| (?P<hidden>`[^|]+) \| (?P<shown>`[^|]+) \|")
TABLE = [row for line in (ROOT / "docs/envelope.md").read_text().splitlines() if (row := _RULE.fullmatch(line))]
HIDDEN = [key for row in TABLE for key in re.findall("`(.+?)`", row["hidden"])]
SHOWN = [key for row in TABLE for key in re.findall("`(.+?)`", row["shown"])]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("password", ("password",)),
        ("db.password", ("db", "password")),
        ("x-auth-token", ("x", "auth", "token")),
        ("clientSecret", ("client", "secret")),
        ("AWS_SECRET_ACCESS_KEY", ("aws", "secret", "access", "key")),
        ("x-APIKey", ("x", "api", "key")),
        ("JWTToken", ("jwt", "token")),
        ("userID", ("user", "id")),
        ("X509Certificate", ("x509", "certificate")),
        ("oauth2Token", ("oauth2", "token")),
        ("a__b--c  d", ("a", "b", "c", "d")),
        ("  ", ()),
        ("", ()),
        ("ÜberPasswort", ("über", "passwort")),
        ("password²", ("password²",)),
        ("A", ("a",)),
        ("AB", ("ab",)),
        ("aB", ("a", "b")),
        ("ABc", ("a", "bc")),
    ],
)
def test_words(key: str, expected: tuple[str, ...]) -> None:
    """A key splits at anything that is no letter or digit, and at changes of case."""
    assert words(key) == expected


def test_the_table_is_read() -> None:
    """The documented table has keys of both kinds, each once."""
    assert len(TABLE) > 5
    assert len({*HIDDEN, *SHOWN}) == len(HIDDEN) + len(SHOWN) > 150


@pytest.mark.parametrize("key", HIDDEN)
def test_what_the_table_says_is_hidden(key: str) -> None:
    """A key of the table's one side is sensitive, however it is written and whatever it belongs to."""
    redaction = KeyRedaction()
    for written in (key, f"app.{key}", f"{key}.", f"old-{key}", "_".join(words(key)), "-".join(words(key)).upper()):
        assert redaction.is_sensitive(written), written


@pytest.mark.parametrize("key", SHOWN)
def test_what_the_table_says_is_shown(key: str) -> None:
    """A key of the table's other side keeps its value, however it is written and whatever it belongs to."""
    redaction = KeyRedaction()
    for written in (key, f"app.{key}", f"{key}.", "_".join(words(key)), "-".join(words(key)).upper()):
        assert not redaction.is_sensitive(written), written


@pytest.mark.parametrize("key", ["", ".", "\0", "__", "1", "é", "💥"])
def test_a_key_without_a_known_word(key: str) -> None:
    """A key of which nothing is known keeps its value."""
    assert not KeyRedaction().is_sensitive(key)


@pytest.mark.parametrize("part", ["password_id_", "passwordId", "secret.", "a", "A", "1", "has_token_", "s" * 50 + "_"])
def test_a_long_key_takes_linear_time(part: str) -> None:
    """No key is slow to judge: one that is ten times as long takes about ten times as many steps."""
    redaction = KeyRedaction()
    few, many = (lines(functools.partial(redaction.is_sensitive, part * number)) for number in (100, 1_000))
    assert many < 12 * few + 1_000


def lines(run: Callable[[], object]) -> int:
    """How many lines of Python are executed."""
    counted = 0

    def count(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal counted
        counted += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        run()
    finally:
        sys.settrace(before)
    return counted


def test_more_keys() -> None:
    """A key that ends in the words of a configured one is sensitive too, in any way of writing it."""
    redaction = KeyRedaction(["phone", "home_address_line"])
    for key in ("phone", "mobilePhone", "HOME-ADDRESS-LINE", "x.homeAddressLine", "password"):
        assert redaction.is_sensitive(key), key
    for key in ("phones", "phone_model", "address_line", "line"):
        assert not redaction.is_sensitive(key), key


def test_exceptions() -> None:
    """An exception is a whole key, word by word, and wins over all that makes it sensitive."""
    redaction = KeyRedaction(["csrf"], exceptions=["csrf_token", "phone"])
    for key in ("csrf_token", "csrfToken", "CSRF-TOKEN", "phone"):
        assert not redaction.is_sensitive(key), key
    for key in ("token", "x_csrf_token", "csrf", "csrf_token_token"):
        assert redaction.is_sensitive(key), key


@pytest.mark.parametrize("nothing", ["", "--", " "])
def test_keys_without_words(nothing: str) -> None:
    """A configured key without a word in it makes nothing sensitive and excepts nothing that is."""
    redaction = KeyRedaction([nothing], [nothing])
    assert not redaction.is_sensitive("name")
    assert not redaction.is_sensitive("")
    assert redaction.is_sensitive("password")


@QUICK
@given(st.lists(any_text, max_size=5), st.lists(any_text, max_size=3), st.lists(any_text, max_size=3))
def test_cached_verdict(keys: list[str], more: list[str], exceptions: list[str]) -> None:
    """A key's verdict is the same the first time, from the cache, and after the cache was emptied."""
    redaction = KeyRedaction(more, exceptions)
    first = [redaction.is_sensitive(key) for key in keys]
    assert [redaction.is_sensitive(key) for key in keys] == first
    assert [KeyRedaction(more, exceptions).is_sensitive(key) for key in keys] == first


def test_cache_is_bounded() -> None:
    """Applications that invent keys for ever cost no memory for ever, and get right verdicts all the same."""
    redaction = KeyRedaction()
    for number in range(10_000):
        assert redaction.is_sensitive(f"{number}.password")
        assert not redaction.is_sensitive(f"{number}.name")
    redaction.is_sensitive("x" * 10_000)
    assert len(redaction._seen) <= 8192
    assert max(map(len, redaction._seen)) <= 256


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.s5Dp-_9"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc+/=\nAAAA\n-----END RSA PRIVATE KEY-----"
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abcDEF123.-_~+/==", "Authorization: Bearer [REDACTED]"),
        ("bearer abcdefgh and more", "bearer [REDACTED] and more"),
        (f"got {JWT}!", "got [REDACTED]!"),
        (f"Bearer {JWT}", "Bearer [REDACTED]"),
        ("key AKIAIOSFODNN7EXAMPLE used", "key [REDACTED] used"),
        ("key ASIAIOSFODNN7EXAMPLE", "key [REDACTED]"),
        (f"secret={AWS_SECRET};", "secret=[REDACTED];"),
        (f"a {PEM} b", "a [REDACTED] b"),
        (f"{PEM}{PEM}", "[REDACTED][REDACTED]"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEabc", "[REDACTED]"),
        ("card 4111111111111111.", "card [REDACTED]."),
        ("4111 1111 1111 1111 12/27", "[REDACTED] 12/27"),
        ("4111-1111-1111-1111", "[REDACTED]"),
        ("3782 822463 10005", "[REDACTED]"),
        ("378282246310005", "[REDACTED]"),
        ("4222222222222", "[REDACTED]"),
        ("6304000000000000000", "[REDACTED]"),
    ],
)
def test_patterns(text: str, expected: str) -> None:
    """Bearer tokens, JWTs, AWS keys, PEM blocks and card numbers are replaced, and nothing around them."""
    assert redact_patterns(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Basic c3ZjOmh1bnRlcjI=", "Basic [REDACTED]"),
        ("authorization: basic dXNlcjpwYXNz.", "authorization: basic [REDACTED]."),
        (f"push with ghp_{'a1B2' * 9} failed", "push with [REDACTED] failed"),
        (f"github_pat_{'a1B2_' * 9}", "[REDACTED]"),
        (f"glpat-{'a1B2' * 5}", "[REDACTED]"),
        ("xoxb-123456789012-abcdef", "[REDACTED]"),
        (f"key sk_live_{'4eC39H' * 4}, next", "key [REDACTED], next"),
        (f"AIza{'Sy0a1_-' * 5}", "[REDACTED]"),
        (f"sk-proj-{'a1B2' * 9}", "[REDACTED]"),
        ("https://hooks.slack.com/services/T0/B0/abcd", "https://hooks.slack.com/services/[REDACTED]"),
        ("login password=hunter2 from 10.0.0.1", "login password=[REDACTED] from 10.0.0.1"),
        ("?user=bob&token=abc&x=1", "?user=bob&token=[REDACTED]&x=1"),
        ("PGPASSWORD='it is' psql", "PGPASSWORD=[REDACTED] psql"),
        ('{"password": "a \\" b", "user": "bob"}', '{"password": [REDACTED], "user": "bob"}'),
        ("{'api_key': 'abc'}", "{'api_key': [REDACTED]}"),
        ("secret: s3cr3t; next", "secret: [REDACTED]; next"),
        ('password="never closed', "password=[REDACTED]"),
    ],
)
def test_patterns_of_tokens(text: str, expected: str) -> None:
    """Tokens by their makers' prefixes, and what a text names as a secret, are replaced, and nothing around them."""
    assert redact_patterns(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://svc:hunter2@db/shop", "postgresql://[REDACTED]@db/shop"),
        ("https://token@example.com", "https://[REDACTED]@example.com"),
        ("amqp://:hunter2@mq", "amqp://[REDACTED]@mq"),
        ("redis://svc:p@ss@cache:6379/0", "redis://[REDACTED]@cache:6379/0"),
        ("redis://svc:pa/ss#w?rd@cache/0", "redis://[REDACTED]@cache/0"),
        ("redis://svc:12345x/6@cache", "redis://[REDACTED]@cache"),
        ("a://u:p@b,c://u:p@d", "a://[REDACTED]@b,c://[REDACTED]@d"),
        ('{"url":"http://u:p@h","to":"x@y"}', '{"url":"http://[REDACTED]@h","to":"x@y"}'),
        ("jdbc:postgresql://u:p%40@h/d", "jdbc:postgresql://[REDACTED]@h/d"),
        ("http://ü:pö@h", "http://[REDACTED]@h"),
        ("http://[REDACTED]@h", "http://[REDACTED]@h"),
    ],
)
def test_userinfo(text: str, expected: str) -> None:
    """The userinfo of each URL in a text is hidden, also where the password is pasted in as it is."""
    assert hide_userinfo(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "://", "http://", "http://example.com/@ann", "https://example.com/?to=a@b.c", "http://h:8080/a@b"),
        *("http://h:80?to=a@b", "mail ann@example.com", '{"url":"http://h","to":"x@y"}', "http://h, or a@b"),
        *("http://[::1]:80/a@b", "ftp://h#a@b", "see http://h:80 and a@b", "svc:pw@host"),
    ],
)
def test_texts_without_userinfo(text: str) -> None:
    """An @ elsewhere in a URL, or outside of one, hides nothing."""
    assert hide_userinfo(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "a bearer of news", "the forebearer abcdefghij", "eyJ", "eyJabc.def", "AKIA", "xAKIAIOSFODNN7EXAMPLE"),
        *("4111111111111112", "order 1234567890123", "1.4111111111111111", "41111111111111111111", "411111111111"),
        *(
            "2024-01-02T03:04:05.123456Z",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        ),
        "-----BEGIN nothing",
        *(
            "basic understanding",
            "Basic Authentication",
            "Basic JavaScript",
            "the password is wrong",
            "no token",
            "sk_live_",
            "ghp_abc",
        ),
        *("task_live_reload", "token_count=3", "passwords: 3", "desk-abcdefghijklmnopqrstuvw"),
    ],
)
def test_texts_that_hold_no_secret(text: str) -> None:
    """What only looks a little like a secret stays as it is."""
    assert redact_patterns(text) == text


@pytest.mark.parametrize(
    "part",
    [
        "-----BEGIN A-----",
        "eyJ",
        "eyJaaaaa.",
        "bearer ",
        "A" * 39 + " ",
        "4111 ",
        "1",
        "-----END ",
        "a",
        "-",
        "eyJaaaaa.eyJ",
        *(
            "basic ",
            "basic A",
            "token=",
            "token = ",
            'token="',
            "token='\\\\",
            "sk-",
            "xoxb-",
            "hooks.slack.com/services/",
        ),
        *("://", "://a:", "://a:b", "://a@", "://a:1/", "@"),
    ],
)
def test_patterns_take_linear_time(part: str) -> None:
    """No text makes the pattern pass slow: half a megabyte of the worst takes less than a second."""
    text = part * (500_000 // len(part))
    started = time.thread_time()  # what others do on this machine takes none of it
    hide_userinfo(text)
    redact_patterns(text)
    assert time.thread_time() - started < 1


def test_card_numbers_have_a_right_checksum() -> None:
    """Of ten numbers that differ in the last digit only, just one is a card number."""
    generator = random.Random(7)
    for length in range(13, 20):
        stem = "4" + "".join(generator.choices("0123456789", k=length - 2))
        hidden = [digit for digit in "0123456789" if redact_patterns(stem + digit) == REDACTED]
        assert len(hidden) == 1
