"""Texts of an application's own types, and an event ID, for the tests of this folder."""

from __future__ import annotations

import enum

UID = "018bcfe5-687b-7abc-8def-0123456789ab"


class Text(str):
    """A text of an application's own type."""

    __slots__ = ()


class Event(str, enum.Enum):
    LOGIN = "user.login"


class LoudText(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "loud"
