"""What follows from the names and types of a record's attributes alone, worked out once for all records that have them.

A log statement makes the same attributes each time; which of them are sensitive, which have a meaning of their own, and
whether their values are JSON's as they are, need not be asked for every record.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple

from . import attributes as names
from .secret_texts import URL_MARK
from .values import Cleaner

# Applications choose the names, and a few invent new ones for ever: what is kept is bounded, in number and in size.
_MOST = 4096
_LONGEST = 2048


#: `True in map(HAS_URL, texts, URL_MARKS)`: asked of all texts at once, without a call for each.
HAS_URL, URL_MARKS = str.__contains__, repeat(URL_MARK)


class Shape(NamedTuple):
    """What the names and types of a record's attributes say of all records that have just these.

    Attributes:
        special: some attribute has a meaning of its own, so that it may leave the context.
        sensitive: names whose values are hidden.
        plain: all values are of types that JSON has, if those of `floats` are finite, and no text has a URL.
        floats: names of such values.
        texts: takes the values that are texts from the attributes; None where there are none.
        meant: names of texts that have a meaning of their own: they may have left the context.
    """

    special: bool
    sensitive: tuple[str, ...]
    plain: bool
    floats: tuple[str, ...] = ()
    texts: Callable[[dict[Any, Any]], tuple[str, ...]] | None = None
    meant: frozenset[str] = frozenset()


NOT_PLAIN = Shape(special=True, sensitive=(), plain=False)


class Shapes:
    """The shapes seen so far. Threads may share one: at worst a shape is worked out twice.

    Args:
        cleaner: says which keys are sensitive, and which types are left as they are.
    """

    def __init__(self, cleaner: Cleaner) -> None:
        self._cleaner = cleaner
        #: By the names of the attributes followed by their types. Looked up where it is needed, to save a call.
        self.known: dict[tuple[object, ...], Shape] = {}

    def work_out(self, attributes: dict[Any, Any], names_and_types: tuple[object, ...]) -> Shape:  # noqa: C901 - a name's way, without the calls
        """The shape of attributes that are not known yet."""
        is_sensitive, unchanged = self._cleaner.is_sensitive, self._cleaner.unchanged
        sensitive: list[str] = []
        floats: list[str] = []
        texts: list[str] = []
        meant: list[str] = []
        special, plain, exact, length = False, True, True, 0
        for name, value in attributes.items():
            if type(name) is not str:
                exact = False
                if not isinstance(name, str):
                    continue
            length += len(name)
            has_meaning = name.startswith(names.RESERVED_PREFIX) or name == names.RECORD_UID
            special = special or has_meaning
            if is_sensitive(name):
                sensitive.append(name)
            elif type(value) is float:
                floats.append(name)
            elif type(value) not in unchanged or URL_MARK in name:
                plain = False
            elif type(value) is str:
                (meant if has_meaning else texts).append(name)
        if not exact:
            # Not kept: 1, True and 1.0 are equal as keys, and so would be the shapes of records that differ in them.
            return NOT_PLAIN._replace(sensitive=tuple(sensitive))
        # The first one twice: of a single name it would take the bare value.
        take_texts = itemgetter(*texts, texts[0]) if texts else None
        shape = Shape(special, tuple(sensitive), plain, tuple(floats), take_texts, frozenset(meant))
        if length <= _LONGEST:
            if len(self.known) >= _MOST:
                self.known.clear()
            self.known[names_and_types] = shape
        return shape
