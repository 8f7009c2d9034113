"""Which keys are sensitive, and what the pattern pass finds."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.records.redaction import REDACTED, KeyRedaction, redact_patterns, words
from tests.strategies import QUICK, any_text

LAST_WORDS = [
    *(
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "secret",
        "secrets",
        "token",
        "credential",
        "credentials",
        "ssn",
        "email",
        "auth",
        "authorization",
    ),
    *("bearer", "jwt", "session", "cookie", "apikey"),
]
LAST_TWO_WORDS = (
    ("api", "key"),
    ("access", "key"),
    ("secret", "key"),
    ("private", "key"),
    ("signing", "key"),
    ("encryption", "key"),
    ("credit", "card"),
)


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


@pytest.mark.parametrize("word", LAST_WORDS)
def test_last_word(word: str) -> None:
    """A key is sensitive by its last word, however it is written, and not by another word or a part of one."""
    redaction = KeyRedaction()
    for key in (
        word,
        word.upper(),
        word.title(),
        f"db.{word}",
        f"X-{word}",
        f"db_{word}",
        f"db{word.title()}",
        f"{word}.",
    ):
        assert redaction.is_sensitive(key), key
    for key in (f"{word}_id", f"{word}Hash", f"x{word}", f"{word}x", f"{word}1"):
        assert not redaction.is_sensitive(key), key


@pytest.mark.parametrize(("first", "second"), LAST_TWO_WORDS)
def test_last_two_words(first: str, second: str) -> None:
    """A key is sensitive by its last two words together, and by neither of them alone."""
    redaction = KeyRedaction()
    both = (f"{first}_{second}", f"{first}-{second}", f"{first}{second.title()}", f"x.{first}.{second}".upper())
    for key in both:
        assert redaction.is_sensitive(key), key
    for key in (second, f"{second}_{first}", f"{first}_x_{second}", f"{first}_{second}_x", f"my{first}_{second}"):
        assert redaction.is_sensitive(key) == (first == "secret" and key.endswith("secret")), key


@pytest.mark.parametrize("key", ["api_key", "db.password", "x-auth-token", "clientSecret", "aws_secret_access_key"])
def test_contract_examples_that_are_sensitive(key: str) -> None:
    """The contract's examples of sensitive keys are."""
    assert KeyRedaction().is_sensitive(key)


@pytest.mark.parametrize(
    "key",
    [
        *("monkey", "partition_key", "session_id", "api_key_hash", "key", "card", "tokens", "token_count", "authority"),
        *("author", "passport", "secretary", "emails_sent", "cookie_consent", "", ".", "\0", "credit", "keyboard"),
    ],
)
def test_keys_that_are_not_sensitive(key: str) -> None:
    """Keys that only look a little like sensitive ones keep their values."""
    assert not KeyRedaction().is_sensitive(key)


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
    ],
)
def test_patterns_take_linear_time(part: str) -> None:
    """No text makes the pattern pass slow: half a megabyte of the worst takes less than a second."""
    text = part * (500_000 // len(part))
    started = time.perf_counter()
    redact_patterns(text)
    assert time.perf_counter() - started < 1


def test_card_numbers_have_a_right_checksum() -> None:
    """Of ten numbers that differ in the last digit only, just one is a card number."""
    generator = random.Random(7)
    for length in range(13, 20):
        stem = "4" + "".join(generator.choices("0123456789", k=length - 2))
        hidden = [digit for digit in "0123456789" if redact_patterns(stem + digit) == REDACTED]
        assert len(hidden) == 1
