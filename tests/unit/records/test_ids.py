"""Event IDs: what is made, and what is taken from a caller."""

from __future__ import annotations

import os
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.records.ids import dashed, parse_event_id, uuid7
from tests.strategies import QUICK, any_text

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@QUICK
@given(st.integers(0, 2**48 - 1))
def test_uuid7_layout(milliseconds: int) -> None:
    """An ID is a UUID of version 7 and of RFC 9562's variant whose first 48 bits are the time."""
    text = uuid7(milliseconds)
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == milliseconds


def test_uuid7_uses_all_its_random_bits() -> None:
    """Of the 74 bits that are neither time nor version nor variant, each is set in some IDs and clear in others."""
    numbers = [uuid.UUID(uuid7(0)).int for _ in range(200)]
    ones = zeros = 0
    for number in numbers:
        ones |= number
        zeros |= ~number
    random_bits = (2**12 - 1) << 64 | (2**62 - 1)
    assert ones & zeros & (2**128 - 1) == random_bits


def test_uuid7_is_unique_over_threads() -> None:
    """Threads that make IDs of one time at once make no ID twice."""
    with ThreadPoolExecutor(8) as pool:
        made = [text for batch in pool.map(lambda _: [uuid7(1) for _ in range(1000)], range(8)) for text in batch]
    assert len(set(made)) == 8000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_uuid7_after_a_fork() -> None:
    """A forked child does not make its parent's IDs again."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, uuid7(0).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 36).decode() != uuid7(0)
    os.close(reader)
    os.close(writer)


def test_dashed() -> None:
    """32 digits get the dashes of a UUID, and removing them gives the digits again."""
    digits = "4bf92f3577b34da6a3ce929d0e0e4736"
    assert dashed(digits) == "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
    assert dashed(digits).replace("-", "") == digits


@QUICK
@given(st.uuids())
def test_uuids_are_taken(value: uuid.UUID) -> None:
    """A caller's UUID is taken, dashed or not, in any case of letters."""
    for text in (str(value), value.hex, str(value).upper()):
        assert parse_event_id(text) == str(value)


@QUICK
@given(st.integers(0, 2**128 - 1))
def test_ulids_are_taken(number: int) -> None:
    """A ULID becomes the UUID of the same 128 bits, in any case of letters."""
    text = "".join(CROCKFORD[number >> 5 * place & 31] for place in range(25, -1, -1))
    assert parse_event_id(text) == parse_event_id(text.lower()) == str(uuid.UUID(int=number))


def test_ulid_of_the_specification() -> None:
    """The example of the ULID specification gives the UUID that other implementations give."""
    assert parse_event_id("01ARZ3NDEKTSV4RRFFQ69G5FAV") == "01563e3a-b5d3-d676-4c61-efb99302bd5b"


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "order-42", "0" * 31, "0" * 33, "8" + "0" * 25, "Z" * 26, "U" * 26, "0" * 25 + "I", "0" * 25 + "-"),
        *("g" * 32, "4bf92f35-77b3-4da6-a3ce-929d0e0e473", "4bf92f35-77b3-4da6-a3ce-929d0e0e47366"),
    ],
)
def test_neither_uuid_nor_ulid(text: str) -> None:
    """What is neither a UUID nor a ULID is not taken."""
    assert parse_event_id(text) is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("0x" + "a" * 30, id="prefix of a hexadecimal literal"),
        pytest.param(" " + "1" * 31, id="leading blank"),
        pytest.param("1" * 31 + "\n", id="trailing newline"),
        pytest.param("+" + "1" * 31, id="sign"),
        pytest.param("1_" * 15 + "11", id="underscores of an integer literal"),
        pytest.param("\u0663" * 32, id="digits of another script"),
        pytest.param("1-" * 31 + "1", id="dashes anywhere"),
        pytest.param("0" * 25 + "\u00df", id="ULID with a letter that becomes two in capitals"),
        pytest.param("0" * 25 + "\u017f", id="ULID with a letter that becomes S in capitals"),
    ],
)
def test_what_integers_are_parsed_from_is_no_id(text: str) -> None:
    """Text that merely can be read as a number is not taken: two such texts could give one ID, and lose a record."""
    assert parse_event_id(text) is None


@QUICK
@given(any_text)
def test_any_text(text: str) -> None:
    """Whatever the text, the result is a dashed UUID in lower case or nothing."""
    parsed = parse_event_id(text)
    assert parsed is None or parsed == str(uuid.UUID(parsed))
