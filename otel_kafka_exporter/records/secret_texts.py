"""Secrets in the middle of a text, by their look: userinfo in URLs always, the rest where a setting asks for it."""

from __future__ import annotations

import re

from .redaction import REDACTED

#: A text without it holds no URL.
URL_MARK = "://"

# Up to the last @ before the path, as clients read it, since passwords are pasted in as they are; and past a slash
# where what follows the colon is no port. Bounded there, because a text may begin many URLs and end none.
_USERINFO = re.compile(
    r'(?<=://)(?:(?:[^\s/?#@"<>]*@)+|[^\s/:@\["<>]{0,256}:(?!\d{1,5}(?:[/?#\s"<>,]|\Z))[^\s@"<>]{1,256}@)'
)
_HIDDEN_USERINFO = f"{REDACTED}@"

_TOKENS = (
    # A PEM block that was cut before its END line is secret up to the end of the text.
    re.compile(r"-----BEGIN [A-Z0-9 ]{1,64}-----.*?(?:-----END [A-Z0-9 ]{1,64}-----|\Z)", re.DOTALL),
    re.compile(r"(?<![\w-])eyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"),
    re.compile(r"(?<=\bbearer )[\w.~+/-]{8,}=*", re.IGNORECASE),
    # "basic" is a word of every day: what follows it has to be whole base64, and no word.
    re.compile(
        r"(?<=\b[Bb]asic )(?=[A-Za-z+/]+[0-9A-Z+/=])(?:[A-Za-z0-9+/]{4}){2,}"
        r"(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?(?![\w+/=])"
    ),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    re.compile(r"(?<![\w/+])(?=[a-z0-9/+]*[A-Z])(?=[A-Z0-9/+]*[a-z])[A-Za-z0-9/+]{40}(?![\w/+=])"),
    # By their makers' prefixes: GitHub, GitLab, Slack, Stripe, Google, OpenAI and Anthropic, npm, PyPI, SendGrid,
    # Hugging Face, DigitalOcean, Shopify.
    re.compile(
        r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abeoprs]-[\w-]{10,}"
        r"|(?:sk|rk)_(?:live|test)_\w{10,}|whsec_\w{10,}|AIza[\w-]{35}|ya29\.[\w-]{20,}|sk-[\w-]{20,}|npm_\w{30,}"
        r"|pypi-[\w-]{30,}|SG\.[\w-]{16,}\.[\w-]{16,}|hf_\w{20,}|do[opr]_v1_\w{20,}|shp(?:at|ca|pa|ss)_\w{20,})"
    ),
    re.compile(r"(?<=hooks\.slack\.com/services/)[\w/-]+"),
)
# `password=…`, `"api_key": "…"`, `--token …`: up to the closing quote, or to the next separator.
_NAMED = re.compile(
    r"""(?ix)
    (?P<name>(?:password|passwd|passphrase|pwd|secret|secret[_-]?key|api[_-]?key|access[_-]?key|private[_-]?key|token)
        ["']?\s{0,8}[=:]\s{0,8})
    (?:"(?:[^"\\]|\\.)*(?:"|\Z) | '(?:[^'\\]|\\.)*(?:'|\Z) | (?!\[REDACTED\])[^\s"'&;,)}\]]+)
    """
)
# In one piece, in fours, or as American Express groups them. A looser pattern would swallow an expiry date that
# follows the number, and with it the checksum.
_CARD_NUMBER = re.compile(r"(?<![\d.])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}|\d{4}([ -])\d{6}\2\d{5})(?![\d.]*\d)")


def hide_userinfo(text: str) -> str:
    """`text` with the userinfo of every URL in it, user and password, replaced by `[REDACTED]`."""
    return _USERINFO.sub(_HIDDEN_USERINFO, text) if URL_MARK in text else text


def without_userinfo(url: str) -> tuple[str, str | None]:
    """A URL without its userinfo, and that; None where it has none."""
    found = _USERINFO.search(url)
    return (url, None) if found is None else (url[: found.start()] + url[found.end() :], found[0][:-1])


def redact_patterns(text: str) -> str:
    """`text` with credentials that can be told by their look replaced by `[REDACTED]`.

    Those are bearer and basic credentials, JWTs, AWS keys, the tokens of well-known services, PEM blocks, what is
    named in the text (`password=…`), and card numbers: 13 to 19 digits, in groups or not, whose Luhn checksum is right.
    """
    for pattern in _TOKENS:
        text = pattern.sub(REDACTED, text)
    text = _NAMED.sub(_hide_named, text)
    return _CARD_NUMBER.sub(_hide_card_number, text)


def _hide_named(match: re.Match[str]) -> str:
    return match["name"] + REDACTED


def _hide_card_number(match: re.Match[str]) -> str:
    digits = [int(digit) for digit in match[0] if digit.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return REDACTED if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 else match[0]
