"""What follows from the names and types of a record's attributes alone, worked out once for all records that have them.

A log statement makes the same attributes each time; which of them are sensitive, which have a meaning of their own, and
whether their values are JSON's as they are, need not be asked for every record.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from . import attributes as names
from .values import Cleaner

# Applications choose the names, and a few invent new ones for ever: what is kept is bounded, in number and in size.
_MOST = 4096
_LONGEST = 2048


class Shape(NamedTuple):
    """What the names and types of a record's attributes say of all records that have just these.

    Attributes:
        special: some attribute has a meaning of its own, so that it may leave the context.
        sensitive: names whose values are hidden.
        plain: all values are of types that JSON has, if those of `floats` are finite.
        floats: names of such values.
    """

    special: bool
    sensitive: tuple[str, ...]
    plain: bool
    floats: tuple[str, ...] = ()


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

    def work_out(self, attributes: dict[Any, Any], names_and_types: tuple[object, ...]) -> Shape:
        """The shape of attributes that are not known yet."""
        is_sensitive = self._cleaner.is_sensitive
        sensitive = tuple(name for name in attributes if isinstance(name, str) and is_sensitive(name))
        if any(type(name) is not str for name in attributes):
            # Not kept: 1, True and 1.0 are equal as keys, and so would be the shapes of records that differ in them.
            return NOT_PLAIN._replace(sensitive=sensitive)
        visible = {name: type(value) for name, value in attributes.items() if name not in sensitive}
        shape = Shape(
            special=any(name == names.RECORD_UID or name.startswith(names.RESERVED_PREFIX) for name in attributes),
            sensitive=sensitive,
            plain=self._cleaner.unchanged.issuperset(visible.values()),
            floats=tuple(name for name, kind in visible.items() if kind is float),
        )
        if sum(map(len, attributes)) <= _LONGEST:
            if len(self.known) >= _MOST:
                self.known.clear()
            self.known[names_and_types] = shape
        return shape
