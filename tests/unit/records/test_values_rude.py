"""A value that raises costs only itself, and what is to end the program does."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import orjson
import pytest

from otel_kafka_exporter.records.scalars import text_of
from tests.records import cleaner, strict_json
from tests.strategies import Rude


@pytest.mark.parametrize("error", [ValueError, RecursionError, MemoryError, SystemExit, GeneratorExit])
@pytest.mark.parametrize("method", ["__str__", "__repr__", "__class__", "__iter__", "__len__", "__getattr__", "items"])
def test_rude_values(method: str, error: type[BaseException]) -> None:
    """A value that raises, whatever it raises and wherever, costs only itself."""

    def rude(*_: object) -> NoReturn:
        raise error

    body: dict[str, Any] = {method: property(rude) if method == "__class__" else rude}
    for base in (object, dict, list, str, int, float, Sequence, Mapping):
        if base in (Sequence, Mapping):
            body = dict.fromkeys(("__getitem__", "__len__", "__iter__"), rude) | body
        value = type("Rude", (base,), dict(body))()
        cleaned = cleaner().clean({"rude": value, "polite": 1})
        assert cleaned["polite"] == 1
        strict_json(orjson.dumps(cleaned))
        assert cleaner().clean_mapping({"rude": [value]}).keys() == {"rude"}


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_unprintable_names_its_type(error: type[BaseException]) -> None:
    """The marker of a value that cannot say what it is names its type."""
    assert text_of(Rude(error)) == "[UNPRINTABLE Rude]"
    assert cleaner().clean({Rude(error): Rude(error)}) == {"[UNPRINTABLE Rude]": "[UNPRINTABLE Rude]"}


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_types_without_a_name(error: type[BaseException]) -> None:
    """A value that can neither be printed nor named costs only itself."""

    def rude(*_: object) -> NoReturn:
        raise error

    meta = type("Meta", (type,), {"__name__": property(rude)})
    value = meta("Nameless", (), {"__str__": rude})()
    assert cleaner().clean([value, 1])[1] == 1


def test_control_c_is_not_swallowed() -> None:
    """Ctrl-C in the middle of a conversion stops the program."""
    with pytest.raises(KeyboardInterrupt):
        cleaner().clean([Rude(KeyboardInterrupt)])


class Terminated:
    """A value in whose text a SIGTERM arrives, as it may at any moment."""

    def __str__(self) -> str:
        signal.raise_signal(signal.SIGTERM)
        return "terminated"


def on_sigterm(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(143)


@pytest.mark.parametrize(
    "handler", [on_sigterm, lambda *_: sys.exit(143), functools.partial(on_sigterm)], ids=["two", "any", "partial"]
)
@pytest.mark.parametrize("read", [text_of, cleaner().clean], ids=["text", "value"])
def test_a_signal_handler_ends_the_program(read: Callable[[object], object], handler: Callable[..., None]) -> None:
    """What a signal handler raises in the middle of a conversion to end the program is not taken for the value's."""
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(SystemExit) as raised:
            read(Terminated())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert raised.value.code == 143


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_outermost_mapping_may_be_rude(error: type[BaseException]) -> None:
    """A context that raises when it is read is survived too."""

    class Bad(Mapping[str, int]):
        def __getitem__(self, key: str) -> int:
            raise error

        def __len__(self) -> int:
            return 1

        def __iter__(self) -> Iterator[str]:
            yield "a"

    assert isinstance(cleaner().clean_mapping(Bad()), dict)
