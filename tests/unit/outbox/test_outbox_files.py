"""An outbox makes its files when they are needed, for its user alone, and leaves none that is done."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.outbox.segment import DONE, SENT
from otel_kafka_exporter.outbox.stream import STREAMS, parse_segment_name, segment_name
from tests.outboxes import APPLICATION, AUDIT, CONFIGURATION, adopt, boxes, make_outbox


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    """Neither making an outbox nor looking into it makes a file."""
    outbox = make_outbox(tmp_path / "outbox")
    assert adopt(outbox) == {}
    outbox.check()
    assert outbox.next_waiting(APPLICATION) is None
    outbox.close()
    assert list(tmp_path.iterdir()) == []


def test_files_are_for_this_user_only(tmp_path: Path) -> None:
    """Directories that were made are 0700, files 0600; a directory of the user's own stays as it is."""
    (tmp_path / "own").mkdir(0o755)
    directory = tmp_path / "own" / "made" / "too"
    make_outbox(directory).append(AUDIT, b"row")
    assert mode(tmp_path / "own") == 0o755
    made = [path for path in (tmp_path / "own").rglob("*") if path.is_dir()]
    assert len(made) == 4
    assert {mode(path) for path in made} == {0o700}
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {mode(path) for path in files} == {0o600}


def test_who_owns_it(tmp_path: Path) -> None:
    """The owner's file says what the process says of itself, and the version of the format."""
    outbox = make_outbox(tmp_path)
    outbox.append(AUDIT, b"row")
    (box,) = boxes(tmp_path)
    assert json.loads((box / "owner").read_text()) == {"version": 1, "pid": 7, "host": "h"}


def test_nothing_is_left_when_all_is_done(tmp_path: Path) -> None:
    """An outbox that is closed with nothing but DONE rows leaves no file, and no directory but the user's."""
    outbox = make_outbox(tmp_path)
    for stream in STREAMS:
        outbox.set_state(outbox.append(stream, b"row", SENT), DONE)
    outbox.close()
    assert list(tmp_path.iterdir()) == []


def test_what_others_have_stays(tmp_path: Path) -> None:
    """The last process of a configuration removes its directory, and none before it."""
    first, second = make_outbox(tmp_path), make_outbox(tmp_path)
    places = [outbox.append(APPLICATION, b"row", SENT) for outbox in (first, second)]
    first.set_state(places[0], DONE)
    first.close()
    assert second.exists(places[1])
    assert len(boxes(tmp_path)) == 1
    second.set_state(places[1], DONE)
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_one_comes_as_another_goes(tmp_path: Path) -> None:
    """However the last one's end and the first one's start meet, the directory is there for who needs it."""

    def come_and_go(_: int) -> None:
        for _ in range(150):
            outbox = make_outbox(tmp_path)
            outbox.set_state(outbox.append(APPLICATION, b"row", SENT), DONE)
            outbox.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come_and_go, range(4)))
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """Where it is none that another process has removed, the error is what it was."""
    (tmp_path / CONFIGURATION).symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutboxError, match=CONFIGURATION):
        make_outbox(tmp_path).append(APPLICATION, b"row")


def test_names_sort_as_orders_do() -> None:
    """A segment's name tells its stream and order; other names tell nothing."""
    for stream in STREAMS:
        assert parse_segment_name(segment_name(stream, 12)) == (stream, 12)
        assert segment_name(stream, 9) < segment_name(stream, 10)
    for name in ("owner", "audit.12.segment", "other.000000000000000012.segment", segment_name(AUDIT, 1) + ".new"):
        assert parse_segment_name(name) is None
