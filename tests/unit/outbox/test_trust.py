"""Files and rows that somebody else may have written are not taken for the service's own."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_kafka_exporter.errors import OutboxError
from otel_kafka_exporter.outbox import Fate, Outbox, Stream, decode_row, encode_row, topic_of
from otel_kafka_exporter.outbox.files import stored_outboxes
from otel_kafka_exporter.outbox.segment import DONE, Segment
from otel_kafka_exporter.records import KafkaRecord
from tests.outboxes import (
    APPLICATION,
    AUDIT,
    CONFIGURATION,
    Losses,
    adopt,
    boxes,
    make_outbox,
    places,
    segments,
    set_aside,
    waiting,
)
from tests.strategies import QUICK

STRANGER = 65_534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user's")


def left(directory: Path, *rows: bytes) -> Path:
    """The directory of a dead process."""
    outbox = make_outbox(directory)
    for row in rows or (b"row",):
        outbox.append(AUDIT, row)
    outbox.close()
    (box,) = boxes(directory)
    return box


def levels(directory: Path) -> list[Path]:
    (box,) = boxes(directory)
    return [directory, directory / CONFIGURATION, box]


@as_root
@pytest.mark.parametrize("level", range(3))
def test_a_directory_of_another_user_is_not_adopted_from(tmp_path: Path, level: int) -> None:
    """Whichever directory is not this user's own, nothing in it is touched or taken over."""
    left(tmp_path / "outbox")
    os.chown(levels(tmp_path / "outbox")[level], STRANGER, STRANGER)
    assert adopt(make_outbox(tmp_path / "outbox")) == {}
    assert len(segments(tmp_path / "outbox")) == 1
    (stored,) = stored_outboxes(tmp_path / "outbox")
    assert str(STRANGER) in stored.problem


@pytest.mark.parametrize("level", range(3))
def test_a_directory_that_others_may_write_to_is_not_adopted_from(tmp_path: Path, level: int) -> None:
    """Whichever directory others may write to, nothing in it is touched or taken over."""
    left(tmp_path / "outbox")
    levels(tmp_path / "outbox")[level].chmod(0o707)
    assert adopt(make_outbox(tmp_path / "outbox")) == {}
    assert "mode 0707" in stored_outboxes(tmp_path / "outbox")[0].problem


@pytest.mark.parametrize("level", range(3))
def test_no_link_is_followed_to_a_directory(tmp_path: Path, level: int) -> None:
    """A symbolic link in the place of a directory is neither adopted from nor written to."""
    left(tmp_path / "outbox")
    path = levels(tmp_path / "outbox")[level]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    outbox = make_outbox(tmp_path / "outbox")
    assert adopt(outbox) == {}
    assert len(list((tmp_path / "elsewhere").rglob("*.segment"))) == 1
    if level < 2:
        with pytest.raises(OutboxError, match="symbolic link"):
            outbox.append(AUDIT, b"row")


@as_root
@pytest.mark.parametrize("made", [Path("outbox"), Path("outbox") / CONFIGURATION])
def test_nothing_is_put_where_another_user_waits_for_it(tmp_path: Path, made: Path) -> None:
    """Records go without an outbox where its directory is another user's; the error says whose, and what to do."""
    (tmp_path / made).mkdir(parents=True)
    os.chown(tmp_path / made, STRANGER, STRANGER)
    outbox = make_outbox(tmp_path / "outbox")
    with pytest.raises(
        OutboxError, match=rf"this user \(0\), got one of user {STRANGER}: .*; set outbox_dir"
    ) as caught:
        outbox.append(AUDIT, b"row")
    assert caught.value.reason == "outbox_unavailable"
    assert not list((tmp_path / made).iterdir()) or made.name == "outbox"


@as_root
def test_a_volume_of_roots_that_the_groups_own_processes_write_to_is_taken(tmp_path: Path) -> None:
    """A directory of root's, and a group's write permission where the process is in it, as in Kubernetes, are fine."""
    directory = tmp_path / "volume"
    directory.mkdir()
    directory.chmod(0o2770)
    os.chown(directory, 0, 4_711)
    tmp_path.chmod(0o755)

    def service() -> None:
        os.setgroups([4_711])
        os.setgid(STRANGER)
        os.setuid(STRANGER)
        make_outbox(directory).append(AUDIT, b"row")
        left_here = segments(directory)[0]
        left_here.chmod(0o660)

    ended = os.fork()
    if not ended:
        code = 1
        try:
            for parent in tmp_path.parents[:3]:
                parent.chmod(0o755)
            service()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(ended, 0)[1]) == 0


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path) -> None:
    target = path.rename(path.parent.parent / "target")
    path.symlink_to(target)


def unix_socket(path: Path) -> None:
    path.unlink()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


def for_all(path: Path) -> None:
    path.chmod(0o606)


@as_root
@pytest.mark.parametrize("replace", [fifo, link, unix_socket, for_all, lambda path: os.chown(path, STRANGER, 0)])
@pytest.mark.parametrize("what", ["owner", "*.segment"])
def test_a_file_that_is_not_this_users_own_is_not_read(
    tmp_path: Path, what: str, replace: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe, a link, a socket, one of another user or for all to write: not sent, not counted, not waited for."""
    monkeypatch.chdir(tmp_path)
    (path,) = left(tmp_path).glob(what)
    replace(path)
    losses = Losses()
    assert adopt(make_outbox(tmp_path, losses=losses)) == {}
    assert not losses
    assert len(set_aside(tmp_path)) == (what != "owner")
    list(stored_outboxes(tmp_path))


def judge(stream: Stream, payload: bytes) -> Fate:
    return Fate.TAKEN if topic_of(payload) == f"log.{stream.category}" else Fate.SET_ASIDE


def row(topic: str, value: bytes = b"{}", **fields: object) -> bytes:
    return encode_row(KafkaRecord(topic, b"key", value, [("name", b"value")], 0, **fields))  # type: ignore[arg-type]


def test_a_row_for_a_topic_of_somebody_elses_is_put_aside(tmp_path: Path) -> None:
    """What is for a topic that this process does not write waits for a person; the rows around it are taken over."""
    left(tmp_path, row("log.audit", b"1"), row("payments"), row("log.security"), row("log.audit", b"2"))
    outbox = Outbox(tmp_path, CONFIGURATION, 1 << 20, {}, Losses(), judge)
    assert adopt(outbox) == {AUDIT: 2}
    assert [decode_row(each).record.value for each in waiting(outbox, AUDIT)] == [b"1", b"2"]
    (name,) = set_aside(tmp_path)
    aside = Segment.copy(tmp_path / CONFIGURATION / "set-aside" / name)
    assert [topic_of(payload) for _, payload in aside.live_rows()] == ["payments", "log.security"]
    outbox.close()
    again = Outbox(tmp_path, CONFIGURATION, 1 << 20, {}, Losses(), judge)
    assert adopt(again) == {AUDIT: 2}
    assert len(set_aside(tmp_path)) == 1


def test_what_only_others_can_send_stays_for_them(tmp_path: Path) -> None:
    """A row that this process leaves is there for the next one; what it can send of the same outbox is taken over."""
    outbox = make_outbox(tmp_path)
    outbox.append(APPLICATION, b"sendable")
    outbox.append(AUDIT, b"needs a frame")
    outbox.close()
    one = Outbox(
        tmp_path,
        CONFIGURATION,
        1 << 20,
        {},
        Losses(),
        lambda _, payload: Fate.LEFT if payload == b"needs a frame" else Fate.TAKEN,
    )
    assert adopt(one) == {APPLICATION: 1}
    assert adopt(one) == {}
    assert adopt(make_outbox(tmp_path)) == {AUDIT: 1}


@pytest.mark.parametrize("size", [10, 20_000])
def test_what_only_others_can_send_keeps_nothing_else_back(tmp_path: Path, size: int) -> None:
    """Of a file with both, this process takes what it can send, once; the rest is there for who can send that."""
    sendable = [b"%d" % n + b"." * size for n in range(10)]
    left(tmp_path, *sendable[:5], b"needs a frame", *sendable[5:])
    one = Outbox(
        *(tmp_path, CONFIGURATION, 1 << 20, {}, Losses()),
        lambda _, payload: Fate.LEFT if payload == b"needs a frame" else Fate.TAKEN,
    )
    assert adopt(one) == {AUDIT: 10}
    assert waiting(one, AUDIT) == sendable
    assert adopt(one) == {}
    other = make_outbox(tmp_path)
    assert adopt(other) == {AUDIT: 1}
    assert waiting(other, AUDIT) == [b"needs a frame"]
    one.close()
    other.close()


def test_what_there_is_no_room_for_stays_beside_it(tmp_path: Path) -> None:
    """Where there is room for some of them only, the others stay, and are taken over when there is."""
    sendable = [b"%d" % n + b"." * 30_000 for n in range(6)]
    left(tmp_path, *sendable, b"needs a frame")
    one = Outbox(
        *(tmp_path, CONFIGURATION, 2 * 65_536, {}, Losses()),
        lambda _, payload: Fate.LEFT if payload == b"needs a frame" else Fate.TAKEN,
    )
    delivered: list[bytes] = []
    for _ in range(4):
        adopt(one)
        for place in places(one, AUDIT):
            delivered.append(one.read(place))
            one.set_state(place, DONE)
    assert delivered == sendable
    one.close()


@pytest.mark.parametrize("rows", [0, 3])
def test_a_file_that_was_being_written_anew_is_finished(tmp_path: Path, rows: int) -> None:
    """A kill while a removed file is written anew loses none of its rows; one without rows goes."""
    box = left(tmp_path, *(b"%d" % n for n in range(rows)))
    if rows:
        (path,) = segments(tmp_path)
        path.rename(path.with_name(path.name + ".new"))
    else:
        (path,) = segments(tmp_path)
        path.unlink()
        Segment.create(path, 65_536, 1).close()
        path.rename(path.with_name(path.name + ".new"))
    outbox = make_outbox(tmp_path)
    assert adopt(outbox) == ({AUDIT: rows} if rows else {})
    assert not box.exists()
    assert set_aside(tmp_path) == []


def test_what_its_maker_is_about_to_finish_is_left_alone(tmp_path: Path) -> None:
    """A file under its first name belongs to the living process that has it locked, whatever became of `owner`."""
    outbox = make_outbox(tmp_path)
    outbox.append(AUDIT, b"row")
    (path,) = segments(tmp_path)
    path.rename(path.with_name(path.name + ".new"))
    (boxes(tmp_path)[0] / "owner").unlink()
    assert adopt(make_outbox(tmp_path)) == {}
    assert path.with_name(path.name + ".new").exists()


SEGMENT = 4_096
_PAYLOADS = [row(f"log.{n}", b"x" * n * 30) for n in range(1, 9)]


def _segment_bytes(directory: Path) -> bytes:
    path = directory / "made"
    segment = Segment.create(path, SEGMENT, 1)
    for payload in _PAYLOADS:
        segment.append(payload)
    segment.close()
    return path.read_bytes()


@QUICK
@given(st.data())
def test_any_bytes_are_rows_or_counted_damage(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever is in a segment's file: each row is one that was written, and what is missing is counted; no error."""
    directory = tmp_path_factory.mktemp("fuzz")
    content = bytearray(_segment_bytes(directory))
    left(directory)
    (path,) = segments(directory)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, 2_600))
        piece = data.draw(st.one_of(st.binary(min_size=1, max_size=80), st.just(bytes(content[40:200]))))
        content[at : at + len(piece)] = piece
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, SEGMENT)) :]
    if data.draw(st.integers(0, 9)) == 0:
        content[:] = data.draw(st.binary(max_size=200))
    path.write_bytes(content)
    for stored in stored_outboxes(directory):
        list(stored.rows())
    losses = Losses()
    outbox = make_outbox(directory, losses=losses)
    adopt(outbox)
    found = waiting(outbox, AUDIT)
    assert set(found) <= set(_PAYLOADS)
    if len(found) < len(_PAYLOADS):  # a copy of a row behind the last one is another row
        states = [content[at + 2 : at + 3] for at in range(0, len(content), 8)]
        assert losses[AUDIT, "outbox_damaged"] or b"\x3c" in states or b"\x00" in states
    outbox.close()
