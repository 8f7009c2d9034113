"""Real Apache Kafka in KRaft mode: nodes that are broker and controller in one, lean, and on 127.0.0.1 only."""

from __future__ import annotations

import base64
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from . import java
from .process import HeldPort, Server, ServerFailed, run_side_by_side, wait_for_servers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from confluent_kafka.admin._metadata import ClusterMetadata

    Config = Mapping[str, str]
    Options = Sequence[str]

START_TIMEOUT = 60.0
TOPIC_TIMEOUT = 30.0
PORT_ATTEMPTS = 3

COMMON = {
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "num.partitions": "3",
    # After a SIGKILL the controller takes the broker for alive, and refuses its successor, until the session
    # has expired: by default after 9 s.
    "broker.session.timeout.ms": "1500",
    "broker.heartbeat.interval.ms": "300",
    # 128 MB by default: more than a small heap has.
    "log.cleaner.dedupe.buffer.size": "2097152",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
}


def admin_client(servers: str, credentials: Config) -> AdminClient:
    """A client that is quick to try again, and silent about what a test provokes on purpose."""
    backoff = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200}
    return AdminClient({"bootstrap.servers": servers, "log_level": 0, **backoff, **credentials})


class KafkaNode(Server):
    """One broker: its data directory, its two ports, and at most one process at a time."""

    def __init__(self, node_id: int, directory: Path, credentials: Config) -> None:
        super().__init__(f"broker {node_id}", directory)
        self.id = node_id
        self.properties = directory / "server.properties"
        self.jvm_options: Options = ()
        self.advertised = ""  # where clients are sent, when that is not its own address
        self._credentials = credentials
        self._port, self._controller_port = HeldPort(), HeldPort()

    @property
    def address(self) -> str:
        """Where clients reach this broker, as host:port."""
        return self._port.address

    @property
    def voter(self) -> str:
        """This node in `controller.quorum.voters`."""
        return f"{self.id}@{self._controller_port.address}"

    def change_ports(self) -> None:
        """Take two other ports; they count from the next `configure` on."""
        self._port.change()
        self._controller_port.change()

    def configure(self, properties: Config) -> None:
        """Write server.properties: what all nodes share, and what is this one's own."""
        lines = {
            **properties,
            "process.roles": "broker,controller",
            "node.id": str(self.id),
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{self._controller_port.address}",
            "advertised.listeners": f"PLAINTEXT://{self.advertised or self.address}",
            "log.dirs": str(self.directory / "data"),
        }
        self.properties.write_text("".join(f"{key}={lines[key]}\n" for key in sorted(lines)))

    def format_command(self, cluster_id: str, options: Options) -> list[str]:
        """What prepares the data directory, which a broker refuses to do by itself."""
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self.properties)]
        return java.command(*tool, options=options)

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Start the broker and wait until it serves clients."""
        self.begin_start()
        wait_ready([self], timeout)

    def begin_start(self) -> None:
        """Start the broker, without waiting."""
        self.launch(java.command("kafka.Kafka", str(self.properties), options=self.jvm_options))

    def close(self) -> None:
        """End the broker without notice and give back its ports."""
        self.kill()
        self._port.close()
        self._controller_port.close()

    def metadata(self, timeout: float = 1.0) -> ClusterMetadata | None:
        """The cluster as this very node sees it; None while it does not answer."""
        # A new client each time: one that has learned of the other nodes asks any of them.
        try:
            return admin_client(self.address, self._credentials).list_topics(timeout=timeout)
        except KafkaException:
            return None


def wait_ready(nodes: Sequence[KafkaNode], timeout: float = START_TIMEOUT) -> None:
    """Wait until each of `nodes` serves clients and knows all of `nodes`; a crash is raised at once."""
    wanted = {node.id for node in nodes}

    def ready() -> bool:
        views = (node.metadata() for node in nodes)
        return all(view is not None and wanted <= view.brokers.keys() for view in views)

    wait_for_servers(nodes, ready, timeout=timeout, wanted="a broker that serves clients")


class KafkaCluster:
    """One or more nodes. As a context manager it is started and, in the end, killed, which is quick.

    With three nodes, topics have three replicas, of which two must be in sync. `config` adds to `COMMON` and
    overrides it. Without options for the `jvm`, the nodes use the class archive. With `credentials`, clients need them.
    """

    def __init__(
        self,
        directory: Path,
        nodes: int = 1,
        config: Config | None = None,
        jvm: Options | None = None,
        credentials: Config | None = None,
    ) -> None:
        self._credentials = credentials or {}
        self.nodes = [
            KafkaNode(number, directory / f"node-{number}", self._credentials) for number in range(1, nodes + 1)
        ]
        self._jvm = jvm
        self._formatted = False
        self._replicas = min(nodes, 3)
        self._config = COMMON | {
            f"{topics}.replication.factor": str(self._replicas)
            for topics in ("default", "offsets.topic", "transaction.state.log")
        }
        for key in ("min.insync.replicas", "transaction.state.log.min.isr"):
            self._config[key] = str(max(1, self._replicas - 1))
        self._config |= config or {}

    @property
    def bootstrap_servers(self) -> str:
        """For a client's `bootstrap.servers`; the addresses stay the same when nodes are restarted."""
        return ",".join(node.address for node in self.nodes)

    def start(self) -> None:
        """Start the nodes that are not running; the first time on ports that prove to be free."""
        if first := not self._formatted:
            self._format()
        for left in reversed(range(PORT_ATTEMPTS if first else 1)):
            try:
                for node in self.nodes:
                    if not node.running:
                        node.begin_start()
                wait_ready(self.nodes)
            except ServerFailed as error:  # noqa: PERF203 - a start takes a second
                if not left or "Address already in use" not in str(error):
                    raise
                # Somebody asked for this very port (see HeldPort). No client knows ours yet: take others.
                for node in self.nodes:
                    node.kill()
                    node.change_ports()
                self._configure()
            else:
                break

    def _format(self) -> None:
        archive = java.fast_start(rehearse) if self._jvm is None else ()
        self._configure()
        # The leading zero byte: an ID that begins with "-" would be taken for an option.
        cluster_id = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        # Not with options of one's own, as they may ask for a class archive to be written at the end.
        commands = [node.format_command(cluster_id, archive) for node in self.nodes]
        run_side_by_side(commands, timeout=START_TIMEOUT, cwd=self.nodes[0].directory)
        for node in self.nodes:
            node.jvm_options = archive if self._jvm is None else self._jvm
        self._formatted = True

    def _configure(self) -> None:
        voters = ",".join(node.voter for node in self.nodes)
        for node in self.nodes:
            node.configure({"controller.quorum.voters": voters, **self._config})

    def stop(self) -> None:
        """End all nodes in their own time; the data stays for the next `start`."""
        for node in self.nodes:
            node.begin_stop()
        for node in self.nodes:
            node.finish_stop()

    def admin_client(self) -> AdminClient:
        """A client that may do everything."""
        return admin_client(self.bootstrap_servers, self._credentials)

    def create_topics(self, *names: str, partitions: int = 3, config: dict[str, str] | None = None) -> None:
        """Create topics and wait until every running node can serve them."""
        topics = [NewTopic(name, partitions, self._replicas, config=config or {}) for name in names]
        client = self.admin_client()  # its futures need it alive
        for future in client.create_topics(topics).values():
            future.result(TOPIC_TIMEOUT)
        self.wait_in_sync(*names)

    def wait_in_sync(self, *names: str, replicas: int | None = None) -> None:
        """Wait until the running nodes agree that each partition has a leader and `replicas` (all) in sync.

        A broker that was killed counts as in sync until its session expires.
        """
        wanted = replicas or self._replicas

        def in_sync(node: KafkaNode) -> bool:
            topics = view.topics if (view := node.metadata()) is not None else {}
            known = [part for name in names if name in topics for part in topics[name].partitions.values()]
            good = (part.leader >= 0 and len(part.isrs) == wanted for part in known)
            return topics.keys() >= set(names) and all(good)

        running = [node for node in self.nodes if node.running]
        what = f"{wanted} replicas in sync of {', '.join(names)}"
        wait_for_servers(running, lambda: all(map(in_sync, running)), timeout=TOPIC_TIMEOUT, wanted=what)

    def __enter__(self) -> KafkaCluster:  # noqa: PYI034 - Self needs Python 3.11 or a dependency
        try:
            self.start()
        except BaseException:  # Ctrl-C too: no broker outlives a start that failed
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for node in self.nodes:
            node.close()


def rehearse(jvm_option: str) -> None:
    """Start, use and stop a broker, for the JVM to see which classes that takes."""
    with (
        tempfile.TemporaryDirectory(prefix="kafka-rehearsal-") as directory,
        KafkaCluster(Path(directory) / "kafka", jvm=[jvm_option]) as cluster,
    ):
        cluster.create_topics("rehearsal")
        cluster.stop()
