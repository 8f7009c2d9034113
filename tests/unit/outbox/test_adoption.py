"""What processes leave in their outboxes, and who takes it: after a crash, after a fork, damaged or not."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from otel_kafka_exporter.outbox import Fate
from otel_kafka_exporter.outbox.outbox import Outbox
from otel_kafka_exporter.outbox.segment import DONE, SENT, Segment
from otel_kafka_exporter.outbox.stream import Stream, segment_name
from tests.outboxes import (
    APPLICATION,
    AUDIT,
    CONFIGURATION,
    DEAD,
    QUARTER,
    SECURITY,
    SEGMENT_BYTES,
    Losses,
    adopt,
    all_waiting,
    boxes,
    make_outbox,
    segments,
    set_aside,
    waiting,
)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(content)


def test_a_closed_outbox_is_adopted(tmp_path: Path) -> None:
    """What a process leaves goes before all that its adopter has, in its own order; what was sent waits."""
    left = make_outbox(tmp_path)
    left.append(APPLICATION, b"1")
    left.append(APPLICATION, b"done", DONE)
    left.append(APPLICATION, b"2", SENT)
    left.front(APPLICATION).append(b"0")
    left.append(DEAD, b"letter")
    left.append(AUDIT, b"done", DONE)
    outbox = make_outbox(tmp_path)
    outbox.append(APPLICATION, b"own")
    assert adopt(outbox) == {}
    left.close()
    assert adopt(outbox) == {APPLICATION: 3, DEAD: 1}
    assert adopt(outbox) == {}
    assert all_waiting(outbox) == {APPLICATION: [b"0", b"1", b"2", b"own"], DEAD: [b"letter"]}
    assert len(boxes(tmp_path)) == 1


def test_the_oldest_process_comes_first(tmp_path: Path) -> None:
    """Of several dead processes the one that started first comes first."""
    for n in range(3):
        left = make_outbox(tmp_path / "made")
        left.append(AUDIT, b"%d" % n)
        left.close()
        (box,) = boxes(tmp_path / "made")
        os.utime(box / "owner", (n, n))
        (tmp_path / CONFIGURATION).mkdir(exist_ok=True)
        box.rename(tmp_path / CONFIGURATION / f"{(n + 1) % 3:08}-0000-4000-8000-000000000000")
    outbox = make_outbox(tmp_path)
    adopt(outbox)
    assert waiting(outbox, AUDIT) == [b"0", b"1", b"2"]


def test_an_adopter_that_dies_is_adopted(tmp_path: Path) -> None:
    """What was adopted and not delivered is adopted again, before what came later."""
    for n in range(5):
        outbox = make_outbox(tmp_path)
        outbox.append(AUDIT, b"%d" % n)
        adopt(outbox)
        assert waiting(outbox, AUDIT) == [b"%d" % m for m in range(n + 1)]
        outbox.close()
    assert len(boxes(tmp_path)) == 1


def test_another_configuration_is_left_alone(tmp_path: Path) -> None:
    """Nothing is adopted from processes of another configuration."""
    other = Outbox(tmp_path, "other", 1 << 20, {}, Losses())
    other.append(AUDIT, b"row")
    other.close()
    assert adopt(make_outbox(tmp_path)) == {}


def test_what_has_no_room_stays(tmp_path: Path) -> None:
    """What an adopter has no room for stays where it is, and comes behind the first part when there is room."""
    left = make_outbox(tmp_path, 16 * SEGMENT_BYTES)
    rows = [b"%02d" % n * (QUARTER // 2) for n in range(40)]
    for row in rows:
        left.append(AUDIT, row)
    left.close()
    outbox = make_outbox(tmp_path, 4 * SEGMENT_BYTES)
    outbox.append(AUDIT, b"own")
    adopt(outbox)
    found = []
    for _ in range(100):
        place = outbox.next_waiting(AUDIT)
        if place is None:
            break
        found.append(outbox.read(place))
        outbox.set_state(place, DONE)
        adopt(outbox)
        assert outbox.usage().bytes <= 16 * SEGMENT_BYTES
    assert [row for row in found if row != b"own"] == rows
    assert len(boxes(tmp_path)) == 1


def test_what_is_done_makes_room(tmp_path: Path) -> None:
    """Segments of its own whose rows are all DONE keep a process from adopting nothing."""
    left = make_outbox(tmp_path, 4 * SEGMENT_BYTES)
    left.append(AUDIT, bytes(2 * SEGMENT_BYTES))
    left.close()
    outbox = make_outbox(tmp_path, 4 * SEGMENT_BYTES)
    for stream in (APPLICATION, AUDIT, SECURITY, DEAD):
        outbox.set_state(outbox.append(stream, b"row"), DONE)
    assert outbox.usage().bytes == 4 * SEGMENT_BYTES
    assert adopt(outbox) == {AUDIT: 1}


def test_damage_is_counted_and_kept(tmp_path: Path) -> None:
    """A damaged row is lost and counted, its segment set aside once the others are done."""
    left = make_outbox(tmp_path)
    places = [left.append(AUDIT, b"%d" % n * 10) for n in range(3)]
    left.close()
    (path,) = segments(tmp_path)
    flip(path, places[1].offset + 20)
    losses = Losses()
    outbox = make_outbox(tmp_path, losses=losses)
    assert adopt(outbox) == {AUDIT: 2}
    assert losses == {(AUDIT, "outbox_damaged"): 1}
    found = [outbox.next_waiting(AUDIT)]
    found.append(outbox.next_waiting(AUDIT, found[0]))
    for place in found:
        assert place is not None
        assert set_aside(tmp_path) == []
        outbox.set_state(place, DONE)
    (name,) = set_aside(tmp_path)
    assert ".audit." in name
    assert segments(tmp_path) == []


def test_a_segment_of_nothing_but_damage(tmp_path: Path) -> None:
    """A segment in which no row can be read is set aside, and its rows are counted."""
    left = make_outbox(tmp_path)
    place = left.append(AUDIT, b"row")
    left.close()
    flip(segments(tmp_path)[0], place.offset + 16)
    losses = Losses()
    assert adopt(make_outbox(tmp_path, losses=losses)) == {}
    assert losses == {(AUDIT, "outbox_damaged"): 1}
    assert len(set_aside(tmp_path)) == 1
    assert boxes(tmp_path) == []


def test_what_is_no_segment_is_set_aside(tmp_path: Path) -> None:
    """Files of another version, or of anybody, are set aside by their names, and keep nothing else from adoption."""
    left = make_outbox(tmp_path)
    left.append(AUDIT, b"row")
    left.append(DEAD, b"letter")
    left.append(APPLICATION, b"of another version")
    left.close()
    (box,) = boxes(tmp_path)
    (path,) = box.glob("application.[0-9]*")
    flip(path, 8)
    (box / "notes.txt").write_text("somebody's")
    (box / "directory").mkdir()
    (box / segment_name(AUDIT, 3)).mkdir()
    (box / segment_name(SECURITY, 3)).touch()
    (tmp_path / CONFIGURATION / "README").write_text("somebody's")
    (tmp_path / CONFIGURATION / "00000000-0000-4000-8000-000000000000").write_text("a file, of all things")
    outbox = make_outbox(tmp_path)
    assert adopt(outbox) == {AUDIT: 1, DEAD: 1}
    names = ["notes.txt", "directory", segment_name(AUDIT, 3), segment_name(SECURITY, 3), path.name]
    assert set_aside(tmp_path) == sorted(f"{box.name}.{name}" for name in names)
    assert len(list((tmp_path / CONFIGURATION).iterdir())) == 4
    assert adopt(outbox) == {}


def test_what_was_never_finished_is_removed(tmp_path: Path) -> None:
    """A segment whose making was cut short, an empty directory, one without a lock: nothing of it stays."""
    left = make_outbox(tmp_path)
    left.append(AUDIT, b"row")
    left.close()
    (box,) = boxes(tmp_path)
    (box / (segment_name(AUDIT, 3) + ".new")).write_bytes(bytes(1000))
    (box / "owner").unlink()
    for n in (1, 2):
        (tmp_path / CONFIGURATION / f"{n}0000000-0000-4000-8000-000000000000").mkdir()
    (tmp_path / CONFIGURATION / "20000000-0000-4000-8000-000000000000" / "owner").touch()
    outbox = make_outbox(tmp_path)
    assert adopt(outbox) == {AUDIT: 1}
    assert len(list((tmp_path / CONFIGURATION).iterdir())) == 1
    assert set_aside(tmp_path) == []


def test_without_a_lock_a_living_process_keeps_its_files(tmp_path: Path) -> None:
    """When somebody removes the lock of a process that lives, nobody adopts its segments, and it recovers."""
    living = make_outbox(tmp_path)
    living.append(AUDIT, b"row")
    (box,) = boxes(tmp_path)
    (box / "owner").unlink()
    other = make_outbox(tmp_path)
    assert adopt(other) == {}
    living.check()
    assert adopt(other) == {}
    living.append(AUDIT, b"another")
    assert waiting(living, AUDIT) == [b"row", b"another"]
    living.close()
    assert adopt(other) == {AUDIT: 2}


def test_a_segment_is_found_by_its_own_outbox_only(tmp_path: Path) -> None:
    """A place of an outbox that was closed is gone."""
    outbox = make_outbox(tmp_path)
    place = outbox.append(AUDIT, b"row")
    outbox.close()
    assert isinstance(place.segment, Segment)
    assert not outbox.exists(place)
    outbox.set_state(place, DONE)
    assert adopt(make_outbox(tmp_path)) == {AUDIT: 1}


# Forks


def in_child(run: Callable[[], object]) -> int:
    """The exit code of a forked child that runs something."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with suppress(BaseException):
            run()
            code = 0
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_forked_child_has_an_outbox_of_its_own(tmp_path: Path) -> None:
    """A child that abandons what it inherited touches none of it, and starts anew."""
    outbox = make_outbox(tmp_path)
    outbox.append(AUDIT, b"parent's")

    def child() -> None:
        outbox.abandon()
        assert waiting(outbox, AUDIT) == []
        assert adopt(outbox) == {}
        outbox.append(AUDIT, b"child's")
        assert len(boxes(tmp_path)) == 2
        outbox.close()

    assert in_child(child) == 0
    outbox.append(AUDIT, b"parent's, too")
    assert waiting(outbox, AUDIT) == [b"parent's", b"parent's, too"]
    assert adopt(outbox) == {AUDIT: 1}
    assert waiting(outbox, AUDIT) == [b"child's", b"parent's", b"parent's, too"]


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    """When the parent dies its outbox is free, although a child that abandoned it lives; not while the parent does."""
    read_end, write_end = os.pipe()  # closed when the last child has ended
    again_read, again_write = os.pipe()
    parent = os.fork()
    if parent == 0:
        with suppress(BaseException):
            outbox = make_outbox(tmp_path)
            outbox.append(AUDIT, b"row")
            outbox.append(SECURITY, b"row")
            if os.fork() == 0:
                outbox.abandon()
                os.write(write_end, b"abandoned")
                os.close(again_write)
                os.read(again_read, 1)  # until the test ends
                os._exit(0)
            os.close(again_write)
            os.read(again_read, 1)
        os._exit(0)
    try:
        assert os.read(read_end, 100) == b"abandoned"
        outbox = make_outbox(tmp_path)
        assert adopt(outbox) == {}
        os.kill(parent, 9)
        os.waitpid(parent, 0)
        assert adopt(outbox) == {AUDIT: 1, SECURITY: 1}
    finally:
        for descriptor in (again_write, again_read, write_end):
            os.close(descriptor)
        assert os.read(read_end, 1) == b""
        os.close(read_end)


def test_what_never_fits_holds_up_nobody(tmp_path: Path) -> None:
    """A file larger than this process may keep, of one that was allowed more, is taken over in parts, in order.

    Those that are younger come behind it, as room comes; its one row for which there is never any holds up nobody.
    """
    left = make_outbox(tmp_path, 64 * SEGMENT_BYTES)
    rows = [b"%02d" % n * (QUARTER // 2) for n in range(40)]
    huge = bytes(8 * SEGMENT_BYTES)
    for row in (*rows[:30], huge, *rows[30:]):
        left.append(AUDIT, row)
    left.close()
    assert max(path.stat().st_size for path in segments(tmp_path)) > 4 * SEGMENT_BYTES
    younger = make_outbox(tmp_path)
    younger.append(AUDIT, b"younger")
    younger.close()
    outbox = make_outbox(tmp_path, 4 * SEGMENT_BYTES)
    letter = outbox.append(DEAD, b"a letter, which stays for weeks")
    found = []
    for _ in range(100):
        adopt(outbox)
        place = outbox.next_waiting(AUDIT)
        if place is None:
            break
        assert outbox.usage().bytes <= 4 * SEGMENT_BYTES
        found.append(outbox.read(place))
        outbox.set_state(place, DONE)
    assert found == [*rows, b"younger"]
    assert outbox.exists(letter)
    [(stranded)] = outbox.stranded()
    assert stranded.records == 1
    outbox.close()
    assert adopt(make_outbox(tmp_path, 64 * SEGMENT_BYTES)) == {AUDIT: 1, DEAD: 1}


@contextmanager
def not_to_be_moved(box: Path, kind: str) -> Iterator[None]:
    """Have nothing be set aside, or not the files that need to be."""
    place = box.parent / "set-aside"
    if kind == "no place":
        place.write_text("somebody's")
        yield
        place.unlink()
    elif kind == "not trusted":
        place.mkdir()
        place.chmod(0o777)
        yield
        place.rmdir()
    else:
        paths = [str(path) for path in box.glob("*[0-9].segment") if path.read_bytes()[8] != 1]
        if subprocess.run(["chattr", "+i", *paths], check=False, capture_output=True).returncode:
            pytest.skip("expected a file system, and a user, for files that cannot be changed, got others")
        try:
            yield
        finally:
            subprocess.run(["chattr", "-i", *paths], check=True)


@pytest.mark.parametrize("kind", ["no place", "not trusted", "immutable"])
def test_what_cannot_be_set_aside_holds_up_nobody(tmp_path: Path, kind: str) -> None:
    """Files that cannot be read, nor moved to where a person finds them, stay; all else is adopted.

    What is lost with them is counted once, and they are set aside once that is possible.
    """
    left = make_outbox(tmp_path)
    for stream in (APPLICATION, AUDIT, DEAD):
        left.append(stream, b"of another version")
        left.append(stream, bytes(SEGMENT_BYTES))
    left.append(SECURITY, b"row")
    left.append(Stream("audit", dead=True), b"row")
    left.close()
    (box,) = boxes(tmp_path)
    for stream in (APPLICATION, AUDIT, DEAD):
        flip(min(box.glob(f"{stream}.[0-9]*")), 8)
    losses = Losses()
    outbox = make_outbox(tmp_path, losses=losses)
    expected = Counter({(stream, "outbox_damaged"): 1 for stream in (APPLICATION, AUDIT, DEAD)})
    with not_to_be_moved(box, kind):
        adopted = {APPLICATION: 1, AUDIT: 1, DEAD: 1, SECURITY: 1, Stream("audit", dead=True): 1}
        assert adopt(outbox) == adopted
        lost = Counter() if kind == "immutable" else expected  # which cannot even be opened
        assert losses == lost
        assert adopt(outbox) == {}
        assert losses == lost
        assert len(list(box.glob("*.segment"))) == 3
    assert adopt(outbox) == {}
    assert losses == expected
    assert len(set_aside(tmp_path)) == 3
    assert not box.exists()


def test_damage_that_cannot_be_set_aside_is_counted_once(tmp_path: Path) -> None:
    """So it is with a file of nothing but damage, and with rows that nobody sends: they stay, and are not lost."""
    left = make_outbox(tmp_path)
    place = left.append(AUDIT, b"damaged")
    left.append(SECURITY, b"strange")
    left.append(SECURITY, b"row")
    left.append(APPLICATION, b"row")
    left.close()
    (box,) = boxes(tmp_path)
    flip(next(box.glob("audit*")), place.offset + 16)
    losses = Losses()

    def judge(_stream: Stream, payload: bytes) -> Fate:
        return Fate.SET_ASIDE if payload == b"strange" else Fate.TAKEN

    outbox = Outbox(tmp_path, CONFIGURATION, 1 << 24, {}, losses, judge)
    with not_to_be_moved(box, "not trusted"):
        assert adopt(outbox) == {SECURITY: 1, APPLICATION: 1}
        assert adopt(outbox) == {}
        assert losses == {(AUDIT, "outbox_damaged"): 1}
        assert [each.records for each in outbox.stranded()] == [1]
    assert adopt(outbox) == {}
    assert losses == {(AUDIT, "outbox_damaged"): 1}
    assert len(set_aside(tmp_path)) == 2
    assert not box.exists()
