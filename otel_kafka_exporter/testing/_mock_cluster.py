"""librdkafka's mock cluster through ctypes: brokers in this process that speak Kafka's protocol on loopback.

Two ways lead to one. A `confluent_kafka.Producer` with `test.mock.num.brokers` starts one too, but to inject
a fault, its `rd_kafka_t *` has to be read out of the Python object, at an offset that only the extension's
source knows. Here a client handle and a cluster of our own are made with exported functions (`rdkafka.h` and
`rdkafka_mock.h`): no struct layout is assumed, and a missing function is a clear error, not a crash.

The functions are looked up on the extension module's own handle, which covers what it is linked with: that is
the very librdkafka in use, the wheel's or the system's, and no file name is guessed.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import socket
import threading
import time
import weakref

from confluent_kafka import KafkaError, KafkaException, cimpl, libversion

_PRODUCER = 0  # rd_kafka_type_t
PRODUCE = 0  # the Produce request's ApiKey
ALL_BROKERS = -1
AUTO_PARTITIONS = 4  # librdkafka's own, for a topic made on first use
MAX_REPLICAS = 3  # likewise, when there are as many brokers
# How long a consumer group waits for more members: librdkafka's 3000 ms are long in a test.
_GROUP_DELAY_MS = 10

_POINTER, _TEXT, _INT, _SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
_FUNCTIONS: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "rd_kafka_conf_new": (_POINTER, ()),
    "rd_kafka_conf_destroy": (None, (_POINTER,)),
    "rd_kafka_conf_set_log_cb": (None, (_POINTER, _POINTER)),
    "rd_kafka_new": (_POINTER, (_INT, _POINTER, _TEXT, _SIZE)),
    "rd_kafka_destroy": (None, (_POINTER,)),
    "rd_kafka_mock_cluster_new": (_POINTER, (_POINTER, _INT)),
    "rd_kafka_mock_cluster_destroy": (None, (_POINTER,)),
    "rd_kafka_mock_cluster_bootstraps": (_TEXT, (_POINTER,)),
    "rd_kafka_mock_topic_create": (_INT, (_POINTER, _TEXT, _INT, _INT)),
    "rd_kafka_mock_push_request_errors_array": (
        None,
        (_POINTER, ctypes.c_int16, _SIZE, ctypes.POINTER(_INT)),
    ),
    "rd_kafka_mock_broker_set_down": (_INT, (_POINTER, ctypes.c_int32)),
    "rd_kafka_mock_broker_set_up": (_INT, (_POINTER, ctypes.c_int32)),
    "rd_kafka_mock_partition_set_leader": (_INT, (_POINTER, _TEXT, ctypes.c_int32, ctypes.c_int32)),
    "rd_kafka_mock_broker_set_rtt": (_INT, (_POINTER, ctypes.c_int32, _INT)),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, (_POINTER, ctypes.c_int32)),
}


@functools.cache
def load_library(path: str) -> ctypes.CDLL:
    """The librdkafka that the extension module at `path` is linked with.

    Raises:
        RuntimeError: functions are missing; names them, and says what to install.
    """
    library = ctypes.CDLL(path)
    missing = [name for name in _FUNCTIONS if not hasattr(library, name)]
    if missing:
        raise RuntimeError(
            f"the embedded Kafka needs a librdkafka, 2.6 or later, with {', '.join(missing)}; looked in "
            f"{path} and what it is linked with (librdkafka {libversion()[0]}). confluent-kafka's wheels have one: "
            "pip install --force-reinstall --only-binary confluent-kafka confluent-kafka"
        )
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class MockCluster:
    """Running brokers, from construction to `close()`. Safe to use from several threads.

    Args:
        brokers: how many, at least 1.

    Raises:
        RuntimeError: librdkafka lacks functions or cannot start.
    """

    def __init__(self, brokers: int) -> None:
        self._library = load_library(cimpl.__file__)
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._client = self._new_client()
        self._cluster: int | None = self._library.rd_kafka_mock_cluster_new(self._client, brokers)
        if self._cluster is None:
            self._library.rd_kafka_destroy(self._client)
            raise RuntimeError(f"librdkafka could not start {brokers} brokers on 127.0.0.1: no ports or files left?")
        self.bootstrap_servers: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        _live.add(self)
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, _GROUP_DELAY_MS)

    def _new_client(self) -> int:
        conf = self._library.rd_kafka_conf_new()
        # With no callback librdkafka drops its log lines; one of ours would run on librdkafka's threads.
        self._library.rd_kafka_conf_set_log_cb(conf, None)
        reason = ctypes.create_string_buffer(512)
        client: int | None = self._library.rd_kafka_new(_PRODUCER, conf, reason, len(reason))
        if client is None:
            self._library.rd_kafka_conf_destroy(conf)  # the client owns it only if it could be made
            raise RuntimeError(f"librdkafka could not make a client: {reason.value.decode(errors='replace')}")
        return client

    def command(self, name: str, *arguments: object) -> None:
        """Call `rd_kafka_mock_{name}` on the cluster.

        It has taken effect on return, within a millisecond or two, a second at the worst.

        Raises:
            KafkaException: what the function answered.
            RuntimeError: the cluster was closed, or belongs to the parent of this forked child.
        """
        # Asked before the lock: a child has no thread that would release it, and none that would answer.
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"this embedded Kafka belongs to process {self._pid}, and only there it can be controlled; this is "
                f"its child {os.getpid()}. Clients of the child's own may use {self.bootstrap_servers}"
            )
        with self._lock:
            if self._cluster is None:
                raise RuntimeError("the embedded Kafka was stopped: start() it first")
            code = getattr(self._library, f"rd_kafka_mock_{name}")(self._cluster, *arguments)
            # The cluster's thread answers, then empties the pipe that wakes it. A command in between loses
            # its wake-up and waits for the thread's next look, up to a second: let the thread get past that.
            time.sleep(0.001)  # there is nothing to ask whether it has
        if code:
            raise KafkaException(KafkaError(code))

    def close(self, timeout: float) -> None:
        """Stop the brokers; nothing when they are stopped, or in a forked child: they are its parent's.

        Raises:
            TimeoutError: librdkafka's threads did not end within `timeout` seconds.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            cluster, self._cluster = self._cluster, None
        if cluster is None:
            return
        _live.discard(self)
        # librdkafka waits for its threads without a limit: it does so on one that can be left behind.
        thread = threading.Thread(target=self._destroy, args=(cluster,), name="embedded-kafka-stop", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # at its exit the interpreter starts no more threads; the brokers end with the process
        thread.join(timeout)
        if thread.is_alive():
            raise TimeoutError(f"the embedded Kafka did not stop in {timeout} s; it will end with the process")

    def _destroy(self, cluster: int) -> None:
        self._library.rd_kafka_mock_cluster_destroy(cluster)
        self._library.rd_kafka_destroy(self._client)


_live: weakref.WeakSet[MockCluster] = weakref.WeakSet()


def _close_inherited_sockets() -> None:
    """Give up a forked child's copies of its parent's brokers' sockets.

    They would keep half alive the connections that the parent closes, and the ports in use: a broker that
    goes down binds its port anew at once, and librdkafka aborts the whole process when it cannot.
    """
    servers = [server for cluster in _live for server in cluster.bootstrap_servers.split(",")]
    addresses = {("127.0.0.1", int(server.rpartition(":")[2])) for server in servers}
    for name in os.listdir("/dev/fd") if addresses else ():  # noqa: PTH208 - names, not paths
        with contextlib.suppress(OSError):  # not a socket; the descriptor of this very listing
            connection = socket.socket(fileno=int(name))
            try:
                inherited = connection.getsockname() in addresses
            finally:
                connection.detach()
            if inherited:
                os.close(int(name))


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_close_inherited_sockets)
