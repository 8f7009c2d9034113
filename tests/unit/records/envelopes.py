"""Envelopes of each category, and values that JSON cannot carry, for the tests of this folder."""

from __future__ import annotations

from typing import Any

from tests.records import AUDIT, SECURITY, envelope_of, hand_made

CONTEXT: dict[str, Any] = {"n": 1, "f": 1.5, "b": True, "z": None, "l": [1, {"é": "\U0001f600"}], "big": 2**64 - 1}
ENVELOPES = {
    "application": envelope_of(hand_made(CONTEXT, body="stock is low")),
    "audit": envelope_of(hand_made({**AUDIT, **CONTEXT}, event_name="omni.audit")),
    "security": envelope_of(hand_made({**SECURITY, **CONTEXT}, event_name="omni.security")),
}
ENVELOPE = ENVELOPES["application"]
UNCLEAN: list[tuple[Any, Any]] = [
    ("\0", "\ufffd"),
    ("a\ud800b", "a\ufffdb"),
    ([2**64, -(2**63) - 1, {"n": 2**200}], [str(2**64), str(-(2**63) - 1), {"n": str(2**200)}]),
    ({"a\0": "\0", "b": ("\udfff",)}, {"a\ufffd": "\ufffd", "b": ["\ufffd"]}),
    ("\\u0000", "\\u0000"),
    (["\\\0", "\\\\0"], ["\\\ufffd", "\\\\0"]),
    ([2**64, 1.5, True, None], [str(2**64), 1.5, True, None]),
]
