"""An outbox whose files somebody removes, or whose directory cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.outbox import refusal, storage
from otel_kafka_exporter.outbox.segment import DONE
from tests.outboxes import (
    AUDIT,
    SECURITY,
    adopt,
    boxes,
    make_outbox,
    segments,
    set_aside,
    waiting,
)

# Whoever removes files


@pytest.mark.parametrize("in_front", [False, True])
def test_removed_files_are_written_anew(tmp_path: Path, *, in_front: bool) -> None:
    """Rows outlive the removal of their files, of the lock, of everything; a crash after the check finds them."""
    outbox = make_outbox(tmp_path / "outbox")
    for n in range(3):
        outbox.append(AUDIT, b"%d" % n)
    if in_front:
        outbox.front(AUDIT).append(b"front")
    rows = [b"front"] * in_front + [b"%d" % n for n in range(3)]

    def remove_segments() -> None:
        for path in segments(tmp_path / "outbox"):
            path.unlink()

    def remove_lock() -> None:
        (boxes(tmp_path / "outbox")[0] / "owner").unlink()

    def remove_all() -> None:
        (tmp_path / "outbox").rename(tmp_path / f"{len(rows)}")

    def replace() -> None:
        path = segments(tmp_path / "outbox")[0]
        path.unlink()
        path.write_bytes(b"somebody's")

    for damage in (remove_segments, remove_lock, remove_all, replace):
        damage()
        outbox.check()
        rows.append(damage.__name__.encode())
        outbox.append(AUDIT, rows[-1])
        assert waiting(outbox, AUDIT) == rows
        assert len(boxes(tmp_path / "outbox")) == 1
    assert len(set_aside(tmp_path / "outbox")) == 1
    outbox.close()
    again = make_outbox(tmp_path / "outbox")
    adopt(again)
    assert waiting(again, AUDIT) == rows


def test_a_new_segment_where_the_directory_has_gone(tmp_path: Path) -> None:
    """A row for which a new segment is made between two checks is kept, and so are the others."""
    outbox = make_outbox(tmp_path / "outbox")
    outbox.append(AUDIT, b"row")
    (tmp_path / "outbox").rename(tmp_path / "elsewhere")
    outbox.append(SECURITY, b"row")
    outbox.close()
    assert adopt(make_outbox(tmp_path / "outbox")) == {AUDIT: 1, SECURITY: 1}


def test_removed_where_nothing_can_be_written(tmp_path: Path) -> None:
    """While files cannot be written anew, rows are still read and settled; they are written once that is possible."""
    outbox = make_outbox(tmp_path / "outbox")
    place = outbox.append(AUDIT, b"row")
    outbox.append(AUDIT, b"another")
    (tmp_path / "outbox").rename(tmp_path / "elsewhere")
    (tmp_path / "outbox").touch()
    for _ in range(2):
        outbox.check()
        assert len(waiting(outbox, AUDIT)) == 2
    outbox.set_state(place, DONE)
    (tmp_path / "outbox").unlink()
    outbox.check()
    outbox.close()
    assert adopt(make_outbox(tmp_path / "outbox")) == {AUDIT: 1}


# Where nothing can be kept


class Clock:
    """A clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (refusal, storage):
            monkeypatch.setattr(module, "monotonic", lambda: self.now)


@pytest.mark.parametrize(
    "directory", ["file/below", "file", "x" * 300, "link"], ids=["below-a-file", "a-file", "too-long", "dangling-link"]
)
def test_a_directory_that_cannot_be_used(tmp_path: Path, directory: str) -> None:
    """What cannot be a directory is an error that says what was expected, what was got, and what to do."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "at-all")
    outbox = make_outbox(tmp_path / directory)
    with pytest.raises(OutboxError, match=r"expected a directory.*, got .*; set outbox_dir") as caught:
        outbox.append(AUDIT, b"row")
    assert caught.value.reason == "outbox_unavailable"
    assert adopt(outbox) == {}
    outbox.check()
    outbox.close()


def test_the_next_attempt_comes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure the same error comes back for ten seconds, without another attempt; then it is tried again."""
    clock = Clock(monkeypatch)
    (tmp_path / "outbox").touch()
    outbox = make_outbox(tmp_path / "outbox")
    with pytest.raises(OutboxError) as first:
        outbox.append(AUDIT, b"row")
    (tmp_path / "outbox").unlink()
    clock.now += 9.9
    appends: list[Callable[[], object]] = [
        lambda: outbox.append(AUDIT, b"row"),
        lambda: outbox.front(SECURITY).append(b"row"),
    ]
    for append in appends:
        with pytest.raises(OutboxError) as second:
            append()
        assert (second.value.reason, str(second.value)) == (first.value.reason, str(first.value))
    assert not (tmp_path / "outbox").exists()
    clock.now += 0.2
    outbox.append(AUDIT, b"row")
    assert waiting(outbox, AUDIT) == [b"row"]


def test_adoption_waits_for_a_directory_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that cannot make its own directory adopts nothing, and what is left stays for later."""
    left = make_outbox(tmp_path)
    left.append(AUDIT, b"row")
    left.close()
    clock = Clock(monkeypatch)
    outbox = make_outbox(tmp_path)

    def refuse(_path: Path, _mode: int = 0) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        assert adopt(outbox) == {}
    assert adopt(outbox) == {}
    clock.now += 11
    assert adopt(outbox) == {AUDIT: 1}
    assert len(boxes(tmp_path)) == 1
