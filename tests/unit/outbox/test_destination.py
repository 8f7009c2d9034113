"""Who takes over what a dead process has left: for the same cluster and the same topics, and never for any other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from otel_kafka_exporter.outbox import Claim, Destination
from otel_kafka_exporter.outbox.outbox import Outbox
from otel_kafka_exporter.outbox.stranded import Survey
from otel_kafka_exporter.process import log_lines
from tests.outboxes import AUDIT, DEAD, Losses, adopt, segments, waiting

OURS = Destination("a:1,b:2", "one", ("", "omninode"))


@pytest.mark.parametrize(
    ("left", "same", "expected"),
    [
        (OURS, True, Claim.OURS),
        (OURS._replace(servers="c:3"), False, Claim.OURS),  # the same cluster by other addresses
        (OURS._replace(servers="c:3", topics=None), False, Claim.OURS),
        (OURS._replace(cluster_id="two"), True, Claim.OTHERS),  # the same addresses, of another cluster
        (OURS._replace(cluster_id="two"), False, Claim.OTHERS),
        (OURS._replace(cluster_id=None), False, Claim.OURS),
        (OURS._replace(cluster_id=None, servers=" B:2 , c:3"), False, Claim.OURS),  # one of them is enough
        (OURS._replace(cluster_id="", servers="c:3"), False, Claim.OTHERS),
        (OURS._replace(cluster_id=None, servers="a:2"), False, Claim.OTHERS),
        (OURS._replace(topics=("dev.", "omninode")), True, Claim.OTHERS),
        (OURS._replace(topics=("", "other")), True, Claim.OTHERS),
        (Destination(""), True, Claim.OURS),  # an `owner` that tells nothing
        (Destination(""), False, Claim.OTHERS),
    ],
)
def test_what_a_process_takes_over(left: Destination, same: bool, expected: Claim) -> None:  # noqa: FBT001 - a case
    """The cluster's ID decides where both know it, else an address in common; the topics are the same in any case."""
    assert OURS.claims(left, same_configuration=same) is expected


def test_who_does_not_know_its_cluster_waits_for_it() -> None:
    """What is for a cluster with a known ID is no question of addresses; what is for an unknown one is."""
    early = OURS._replace(cluster_id=None)
    assert early.claims(OURS, same_configuration=True) is Claim.OPEN
    assert early.claims(OURS._replace(cluster_id=None), same_configuration=True) is Claim.OURS
    assert early.claims(OURS._replace(cluster_id=None, servers="c:3"), same_configuration=False) is Claim.OTHERS
    without = OURS._replace(cluster_id="")  # it has answered, and has no ID
    assert without.claims(OURS, same_configuration=True) is Claim.OTHERS


@pytest.mark.parametrize("owner", [{}, {"bootstrap_servers": 7, "cluster_id": [], "topic_prefix": {}, "namespace": 1}])
def test_an_owner_of_anybodys_tells_nothing(owner: dict[str, object]) -> None:
    """What is of another type than expected is as if it were not there."""
    assert Destination.of(owner) == Destination("")


def outbox_for(directory: Path, configuration: str, servers: str, prefix: str | None = "", **owner: str) -> Outbox:
    topics = {} if prefix is None else {"topic_prefix": prefix, "namespace": "omninode"}
    return Outbox(directory, configuration, 1 << 20, {"bootstrap_servers": servers, **topics, **owner}, Losses())


def leave(directory: Path, configuration: str, servers: str, prefix: str | None = "", cluster_id: str = "") -> None:
    """What a process leaves behind, which has reached a cluster or not."""
    left = outbox_for(directory, configuration, servers, prefix)
    left.append(AUDIT, b"row")
    if cluster_id:
        left.reached(cluster_id)
    left.close()


def test_the_same_cluster_by_other_addresses(tmp_path: Path) -> None:
    """A process that has reached a cluster takes over what others left for it under other addresses."""
    leave(tmp_path, "old", "old:1", cluster_id="one")
    outbox = outbox_for(tmp_path, "new", "new:1")
    assert adopt(outbox) == {}
    assert outbox.stranded() == ()  # it may be the same one
    outbox.reached("one")
    assert adopt(outbox) == {AUDIT: 1}
    assert waiting(outbox, AUDIT) == [b"row"]
    assert not (tmp_path / "old").exists()


def test_two_clusters_with_the_same_address(tmp_path: Path) -> None:
    """Of two environments that share a directory, and the name of their brokers, neither sends what is the other's."""
    leave(tmp_path, "configuration", "kafka:9092", cluster_id="production")
    staging = outbox_for(tmp_path, "configuration", "kafka:9092")
    staging.reached("staging")
    assert adopt(staging) == {}
    [stranded] = staging.stranded()
    assert (stranded.servers, stranded.records) == ("kafka:9092", 1)
    production = outbox_for(tmp_path, "configuration", "kafka:9092")
    production.reached("production")
    assert adopt(production) == {AUDIT: 1}
    assert adopt(staging) == {}
    assert staging.stranded() == ()


def test_a_broker_more_in_the_list(tmp_path: Path) -> None:
    """An address in common is enough where the cluster never answered; none in common is not."""
    leave(tmp_path, "one", "a:1")
    leave(tmp_path, "other", "c:3")
    outbox = outbox_for(tmp_path, "two", "b:2,a:1")
    outbox.reached("cluster")
    assert adopt(outbox) == {AUDIT: 1}
    assert [each.servers for each in outbox.stranded()] == ["c:3"]


def test_other_topics_wait_for_whoever_writes_them(tmp_path: Path) -> None:
    """Another prefix is another environment, whatever the cluster."""
    leave(tmp_path, "dev", "a:1", "dev.", cluster_id="one")
    outbox = outbox_for(tmp_path, "live", "a:1")
    outbox.reached("one")
    assert adopt(outbox) == {}
    assert len(outbox.stranded()) == 1


def test_what_an_older_version_left(tmp_path: Path) -> None:
    """An `owner` without cluster or topics is adopted in its own directory, and by its addresses from another one."""
    leave(tmp_path, "same", "a:1", None)
    leave(tmp_path, "another", "a:1,b:2", None)
    leave(tmp_path, "elsewhere", "c:3", None)
    for path in tmp_path.glob("same/*/owner"):
        path.write_text('{"version": 1, "pid"')  # cut short by whatever
    outbox = outbox_for(tmp_path, "same", "a:1")
    outbox.reached("one")
    assert adopt(outbox) == {AUDIT: 2}
    assert len(outbox.stranded()) == 1


def test_the_cluster_is_remembered_by_who_dies(tmp_path: Path) -> None:
    """A cluster learned late is written down at once, whole, and does not change who came first."""
    outbox = outbox_for(tmp_path, "one", "a:1")
    outbox.append(AUDIT, b"row")
    (owner,) = tmp_path.glob("*/*/owner")
    os.utime(owner, (5, 5))
    for cluster_id in ("a-cluster-with-a-long-name", "short"):
        outbox.reached(cluster_id)
        assert json.loads(owner.read_text())["cluster_id"] == cluster_id
    assert owner.stat().st_mtime == 5
    outbox.close()


def test_a_cluster_known_before_the_first_row_is_remembered(tmp_path: Path) -> None:
    """A directory that is made later, or anew, has it from its start."""
    outbox = outbox_for(tmp_path, "one", "a:1")
    outbox.reached("one")
    outbox.append(AUDIT, b"row")
    (owner,) = tmp_path.glob("*/*/owner")
    assert json.loads(owner.read_text())["cluster_id"] == "one"
    owner.unlink()
    outbox.check()
    (owner,) = tmp_path.glob("*/*/owner")
    assert json.loads(owner.read_text())["cluster_id"] == "one"
    outbox.close()


def test_a_living_process_of_another_cluster_is_not_stranded(tmp_path: Path) -> None:
    """What somebody who lives is about to deliver is nobody else's matter; dead letters wait for nothing."""
    living = outbox_for(tmp_path, "other", "c:3")
    living.append(AUDIT, b"row")
    letters = outbox_for(tmp_path, "other", "c:3")
    letters.append(DEAD, b"letter")
    letters.close()
    outbox = outbox_for(tmp_path, "one", "a:1")
    adopt(outbox)
    assert outbox.stranded() == ()
    living.close()
    adopt(outbox)
    assert len(outbox.stranded()) == 1


def test_what_is_stranded_is_said_once_and_again_when_there_is_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line tells how many records wait, since when, for which servers and where; not every ten seconds anew."""
    noted: dict[tuple[str, str], tuple[object, ...]] = {}
    monkeypatch.setattr(log_lines, "_noted", noted)
    leave(tmp_path, "other", "c:3")
    (segment,) = tmp_path.glob("other/*/*.segment")
    survey = Survey()
    assert [each.records for each in survey.of([segment.parent])] == [1]
    [((_, message), arguments)] = noted.items()
    noted.clear()
    line = message % arguments
    assert line.startswith("1 records of dead processes wait")
    assert f"for c:3, in {segment.parent}" in line
    survey.of([segment.parent])
    assert noted == {}
    leave(tmp_path, "other", "c:3")
    survey.of([path.parent for path in tmp_path.glob("other/*/*.segment")])
    [((_, message), arguments)] = noted.items()
    assert "2 records" in message % arguments


def test_a_file_that_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    """Gigabytes that wait for another cluster are read once, and not every ten seconds."""
    leave(tmp_path, "other", "c:3")
    (segment,) = tmp_path.glob("other/*/*.segment")
    survey = Survey()
    survey.of([segment.parent])
    before = segment.stat()
    content = segment.read_bytes()
    segment.write_bytes(bytes(len(content)))
    os.utime(segment, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [each.records for each in survey.of([segment.parent])] == [1]
    os.utime(segment)
    assert survey.of([segment.parent]) == ()
    segment.unlink()
    assert survey.of([segment.parent]) == ()
    assert segments(tmp_path) == []
