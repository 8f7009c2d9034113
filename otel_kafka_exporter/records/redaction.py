"""Which values never leave the process by the name of their key.

A key is split into words at anything that is no letter or digit and at changes of case. What names a secret, and what
only talks of one, are the tables below; docs/envelope.md has the rule with examples of both sides, which are its test.
They were held against the lists of Sentry, Django, Rails, Logfire and the OpenTelemetry Collector.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

REDACTED = "[REDACTED]"

# fmt: off
#: Secret wherever they stand in a key, unless a word behind them says that the value is about the secret.
_ANYWHERE = frozenset({
    "password", "pass word", "passwd", "passphrase", "pass phrase", "passcode", "pwd", "secret", "credential", "creds",
    "api key", "apikey", "access key", "accesskey", "secret key", "secretkey", "private key", "privatekey",
    "signing key", "signingkey", "encryption key", "encryptionkey", "master key", "masterkey", "shared key",
    "account key", "ssh key", "authorization code", "auth code", "ssn", "social security", "iban", "cvv", "cvc",
    "credit card", "creditcard", "card number", "cardnumber", "card no",
})
#: Secret at the end of a key: elsewhere they are as often a part of another name (`token_count`, `session_timeout`).
_AT_THE_END = frozenset({
    "token", "auth", "authorization", "bearer", "jwt", "session", "sessionid", "sessid", "connect sid", "cookie",
    "csrf", "xsrf", "email", "email address", "emailaddress", "pass", "dbpass", "userpass", "keypass", "storepass",
    "sshpass", "pw", "dsn", "otp", "totp", "otp code", "mfa code", "verification code", "secret id", "session key",
    "auth key", "subscription key", "host key", "connection string", "connectionstring", "conn str", "connection url",
    "connection uri", "database url", "database uri", "databaseurl", "db url", "db uri", "redis url", "redis uri",
    "mongo url", "mongo uri", "mongodb url", "mongodb uri", "postgres url", "postgresql url", "mysql url", "amqp url",
    "rabbitmq url", "broker url",
})
#: Whatever ends in these is one of them: `PGPASSWORD`, `csrftoken`, `JSESSIONID`.
_STEMS = (
    "passwd", "passphrase", "secret", "credential", "apikey", "secretkey", "privatekey", "accesskey", "token", "cookie",
    "sessionid", "sessid", "email",
)
#: Behind the last of `_AT_THE_END` they change nothing. Numbers do not either.
_PASSED_OVER = frozenset({
    "value", "values", "header", "headers", "string", "str", "text", "raw", "plain", "plaintext", "cleartext", "base",
    "encoded", "encrypted", "confirm", "confirmation", "again", "repeat", "old", "new", "current", "previous",
    "primary", "secondary", "prod", "production", "staging", "dev", "live", "test",
})
#: Behind one of `_ANYWHERE` they say that the value is about the secret.
_ABOUT = frozenset({
    "id", "ids", "hash", "digest", "fingerprint", "sha", "md", "count", "counts", "length", "len", "size", "type",
    "kind", "name", "names", "username", "label", "field", "expiry", "expires", "expired", "expiration", "at", "ttl",
    "age", "date", "time", "timestamp", "days", "seconds", "last", "created", "updated", "modified", "status", "state",
    "valid", "invalid", "verified", "checked", "accepted", "rejected", "matches", "match", "mismatch", "correct",
    "wrong", "policy", "strength", "score", "version", "rotation", "rotated", "change", "changed", "reset", "required",
    "enabled", "disabled", "set", "present", "exists", "missing", "provided", "algorithm", "alg", "method", "mode",
    "file", "path", "dir", "location", "manager", "provider", "store", "engine", "backend", "attempts", "attempt",
    "failures", "failed", "failure", "error", "errors", "ref", "reference", "source", "arn", "region", "scope",
    "scopes", "brand",
})
#: A hash of these is what is stolen to guess them.
_GUESSED = frozenset({"password", "pass word", "passwd", "passphrase", "pass phrase", "passcode", "pwd"})
_HASHES = frozenset({"hash", "digest", "sha", "md"})
#: Before a secret they ask whether there is one.
_ASKS = frozenset({
    "has", "have", "is", "needs", "need", "requires", "require", "use", "uses", "with", "without", "no", "missing",
    "skip", "allow", "allows", "supports", "show", "hide", "should", "must", "can", "did",
})
#: They may stand between such a word and the secret.
_KINDS = frozenset({
    "access", "refresh", "csrf", "xsrf", "session", "auth", "basic", "bearer", "api", "client", "user", "proxy",
})
#: Before the plural they count: `max_tokens`, `prompt_tokens`, `cache_read_tokens`.
_COUNTS = frozenset({
    "max", "min", "total", "num", "n", "number", "count", "input", "output", "prompt", "completion", "cache", "cached",
    "reasoning", "thinking", "prediction", "used", "usage", "remaining", "limit", "budget", "context", "generated",
    "request", "response", "audio", "image", "text", "avg", "estimated",
})
#: What is no secret after all.
_HARMLESS = frozenset({
    "last session", "first session", "enable auth", "enabled auth", "disable auth", "verify email", "send email",
    "boarding pass", "season pass", "ski pass", "day pass", "first pass", "second pass", "final pass", "single pass",
    "multi pass", "two pass", "low pass", "high pass", "band pass", "render pass", "test pass", "tests pass",
    "checks pass", "will pass", "by pass",
})
# fmt: on

_PHRASES = _ANYWHERE | _AT_THE_END
_LONGEST_PHRASE = 2
#: Words of them that have a plural of the same meaning; sessions are most often counted.
_NOUNS = frozenset(word for phrase in _PHRASES for word in phrase.split()) - {"session", "pass"}
_DIGITS = "0123456789"

# Past these the verdict is worked out again: keys come from applications, and a few applications invent new ones
# for ever. A cleared cache costs microseconds, an unbounded one the process.
_CACHED_KEYS = 8192
_CACHED_KEY_LENGTH = 256


def words(key: str) -> tuple[str, ...]:
    """The words of a key, in lower case: `x-APIKey` is `("x", "api", "key")`."""
    found: list[str] = []
    for run in re.findall(r"[^\W_]+", key):
        start = 0
        for at, (left, right) in enumerate(pairwise(run), start=1):
            # "aB" splits before B; "ABc" before B, because the last capital opens the next word.
            opens_word = right.isupper() and not left.isupper()
            ends_acronym = left.isupper() and right.islower() and at - start > 1
            if opens_word:
                found.append(run[start:at])
                start = at
            elif ends_acronym:
                found.append(run[start : at - 1])
                start = at - 1
        found.append(run[start:])
    return tuple(word.lower() for word in found)


class KeyRedaction:
    """Says of a key whether its value is to be hidden.

    Args:
        more: further keys; one that ends in the words of any of these is sensitive too.
        exceptions: keys that are not sensitive after all; the whole key has to match, word by word.
    """

    def __init__(self, more: Iterable[str] = (), exceptions: Iterable[str] = ()) -> None:
        self._more = frozenset({words(key) for key in more} - {()})
        self._longest = max(map(len, self._more), default=0)
        self._exceptions = frozenset(words(key) for key in exceptions)
        # Most keys hold nothing of what makes one sensitive, which is seen at once.
        lasts = {phrase.split()[-1] for phrase in _PHRASES} | {ending[-1] for ending in self._more}
        self._suspect = re.compile("|".join(map(re.escape, sorted(lasts)))).search
        self._seen: dict[str, bool] = {}

    def is_sensitive(self, key: str) -> bool:
        """Whether the value of `key` is to be replaced by `[REDACTED]`."""
        verdict = self._seen.get(key)
        if verdict is None:
            verdict = self._judge(key)
            if len(key) <= _CACHED_KEY_LENGTH:
                if len(self._seen) >= _CACHED_KEYS:
                    self._seen.clear()
                self._seen[key] = verdict
        return verdict

    def _judge(self, key: str) -> bool:
        if key.isascii() and not self._suspect(key.lower()):
            return False
        parts = words(key)
        if parts in self._exceptions:
            return False
        ends_as_told = any(parts[-n:] in self._more for n in range(1, min(self._longest, len(parts)) + 1))
        return ends_as_told or _names_a_secret(parts)


def _names_a_secret(parts: tuple[str, ...]) -> bool:
    nouns = [_noun(word) for word in parts]
    end = len(nouns)
    while end > 1 and (nouns[end - 1] in _PASSED_OVER or nouns[end - 1].isdecimal()):
        end -= 1
    ends = (end, len(nouns))
    spoken_of, spoken_of_guessed = (_last_of(nouns, about) for about in (_ABOUT, _ABOUT - _HASHES))
    for start in range(len(nouns)):
        for stop in range(start + 1, min(start + _LONGEST_PHRASE, len(nouns)) + 1):
            phrase = " ".join(nouns[start:stop])
            if phrase in _ANYWHERE:
                named = stop > (spoken_of_guessed if phrase in _GUESSED else spoken_of)
            else:
                named = stop in ends and phrase in _AT_THE_END
            before = nouns[max(0, start - 2) : start]
            if named and not _is_only_spoken_of(before, phrase, is_plural=parts[stop - 1].endswith("s")):
                return True
    return False


def _last_of(nouns: list[str], which: frozenset[str]) -> int:
    """The place of the last of these words; -1 when there is none."""
    return next((at for at in range(len(nouns) - 1, -1, -1) if nouns[at] in which), -1)


def _noun(word: str) -> str:
    """What a word is by the tables: without a number behind it, a plural, or what is written together with it."""
    word = word.rstrip(_DIGITS) or word
    if "password" in word and word != "passwordless":
        return "password"
    one = word.removesuffix("s")
    if one in _NOUNS:
        return one
    return next((stem for stem in _STEMS if one.endswith(stem)), word)


def _is_only_spoken_of(before: list[str], phrase: str, *, is_plural: bool) -> bool:
    """Whether the two words before a secret say that its value is none: a question, a count, another meaning."""
    if not before:
        return False
    asked = before if before[-1] in _KINDS else before[-1:]
    return (
        not _ASKS.isdisjoint(asked)
        or f"{before[-1]} {phrase}" in _HARMLESS
        or (is_plural and not _COUNTS.isdisjoint(before))
    )
