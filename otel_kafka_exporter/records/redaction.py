"""Which values never leave the process: by their key, and optionally by their look.

Everything that decides what is secret lives here. A key is split into words at anything that is no letter or digit
and at changes of case; it is sensitive by its last word, or by its last two. So `db.password`, `clientSecret` and
`AWS_SECRET_ACCESS_KEY` are, `monkey`, `partition_key`, `session_id` and `api_key_hash` are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

REDACTED = "[REDACTED]"

# fmt: off
_LAST_WORDS = (
    "password", "passwd", "pwd", "passphrase", "secret", "secrets", "token", "credential", "credentials", "ssn",
    "email", "auth", "authorization", "bearer", "jwt", "session", "cookie", "apikey",
)
_LAST_TWO_WORDS = (
    ("api", "key"), ("access", "key"), ("secret", "key"), ("private", "key"), ("signing", "key"),
    ("encryption", "key"), ("credit", "card"),
)
# fmt: on

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
        endings: set[tuple[str, ...]] = {(word,) for word in _LAST_WORDS}
        endings.update(_LAST_TWO_WORDS)
        endings |= {words(key) for key in more}
        self._endings = frozenset(endings - {()})
        self._longest = max(map(len, self._endings))
        self._exceptions = frozenset(words(key) for key in exceptions)
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
        parts = words(key)
        if parts in self._exceptions:
            return False
        return any(parts[-n:] in self._endings for n in range(1, min(self._longest, len(parts)) + 1))


_PATTERNS = (
    # A PEM block that was cut before its END line is secret up to the end of the text.
    re.compile(r"-----BEGIN [A-Z0-9 ]{1,64}-----.*?(?:-----END [A-Z0-9 ]{1,64}-----|\Z)", re.DOTALL),
    re.compile(r"(?<![\w-])eyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"),
    re.compile(r"(?<=\bbearer )[\w.~+/-]{8,}=*", re.IGNORECASE),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    re.compile(r"(?<![\w/+])(?=[a-z0-9/+]*[A-Z])(?=[A-Z0-9/+]*[a-z])[A-Za-z0-9/+]{40}(?![\w/+=])"),
)
# In one piece, in fours, or as American Express groups them. A looser pattern would swallow an expiry date that
# follows the number, and with it the checksum.
_CARD_NUMBER = re.compile(r"(?<![\d.])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}|\d{4}([ -])\d{6}\2\d{5})(?![\d.]*\d)")


def redact_patterns(text: str) -> str:
    """`text` with bearer tokens, JWTs, AWS keys, PEM blocks and card numbers replaced by `[REDACTED]`.

    A card number is 13 to 19 digits, in groups or not, whose Luhn checksum is right.
    """
    for pattern in _PATTERNS:
        text = pattern.sub(REDACTED, text)
    return _CARD_NUMBER.sub(_hide_card_number, text)


def _hide_card_number(match: re.Match[str]) -> str:
    digits = [int(digit) for digit in match[0] if digit.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return REDACTED if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 else match[0]
