"""`otel-kafka doctor` before ports that are no Kafka, or not the one that was meant: the one cause is named."""

from __future__ import annotations

import contextlib
import http.server
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from otel_kafka_exporter.testing import EmbeddedKafka
from tests.doctoring import examine
from tests.rig.process import HeldPort
from tests.tls_front import LOOPBACK, TlsFront, certified, client_files, pem

TOPICS = [f"omninode.logging.{category}.v1" for category in ("application", "audit", "security")]


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def kafka(embedded_kafka: EmbeddedKafka) -> str:
    for topic in TOPICS:
        embedded_kafka.create_topic(topic)
    return embedded_kafka.bootstrap_servers


@pytest.fixture
def trusted(ca: trustme.CA, tmp_path: Path) -> str:
    """Properties with which the CA is trusted."""
    return f"security.protocol=SSL,ssl.ca.location={pem(ca, tmp_path / 'ca.pem')}"


def test_a_name_that_is_none() -> None:
    """A name that does not resolve is the one cause."""
    examine("nowhere.invalid:9092").one_cause("network.dns", "nowhere.invalid:9092", "does not resolve")


def test_a_port_that_nobody_listens_on() -> None:
    """A refused connection is the one cause."""
    port = HeldPort()
    try:
        examine(port.address).one_cause("network.tcp", port.address, "connection refused")
    finally:
        port.close()


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog drops packets on Linux")
def test_packets_that_are_dropped() -> None:
    """A port that answers nothing at all is told from one that refuses, within the deadline."""
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind((LOOPBACK, 0))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(full.getsockname())
        found = examine(f"{LOOPBACK}:{full.getsockname()[1]}", "--timeout", "2s")
    assert "nothing answers" in found.one_cause("network.tcp")["text"]


def test_a_broker_that_hangs() -> None:
    """A port that takes connections and says nothing is one of its own kind."""
    with socket.create_server((LOOPBACK, 0), backlog=16) as hung:
        found = examine(f"{LOOPBACK}:{hung.getsockname()[1]}", "--timeout", "2s")
    found.one_cause("network.protocol", "never answers")


class _Web(http.server.BaseHTTPRequestHandler):
    def handle(self) -> None:  # an HTTP server answers what is no request at once
        self.request.recv(64)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


@pytest.fixture
def web() -> Iterator[str]:
    with http.server.HTTPServer((LOOPBACK, 0), _Web) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"{LOOPBACK}:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_web_server(web: str) -> None:
    """An HTTP server's answer is recognised."""
    examine(web).one_cause("network.protocol", "HTTP")


def test_tls_where_none_is_spoken(kafka: str, trusted: str) -> None:
    """TLS to a port in plain text says which of the two is which."""
    found = examine(kafka, properties=trusted)
    found.one_cause("network.protocol", "expected TLS, got Kafka in plain text", "security.protocol=PLAINTEXT")


def test_no_tls_where_it_is_spoken(kafka: str, ca: trustme.CA) -> None:
    """Plain text to a port with TLS says so, of which librdkafka says nothing."""
    with TlsFront(certified(ca, LOOPBACK), kafka) as front:
        found = examine(front.address)
    found.one_cause("network.protocol", "expected Kafka in plain text, got TLS", "security.protocol=SSL")


def test_a_ca_that_is_not_trusted(kafka: str, trusted: str) -> None:
    """A certificate of another CA is told from one that has expired or is of another host."""
    with TlsFront(certified(trustme.CA(), LOOPBACK), kafka) as front:
        examine(front.address, properties=trusted).one_cause("tls.chain", "not trusted", "ca.pem")


def test_a_certificate_that_has_expired(kafka: str, ca: trustme.CA, trusted: str) -> None:
    """An expired certificate of the right CA is said to be that."""
    with TlsFront(certified(ca, LOOPBACK, days=-1), kafka) as front:
        found = examine(front.address, properties=trusted)
    found.one_cause("tls.expiry", "expired")
    assert found.status("tls.chain") == "ok"


def test_a_certificate_of_another_host(kafka: str, ca: trustme.CA, trusted: str) -> None:
    """A certificate of another name is said to be that."""
    with TlsFront(certified(ca, "kafka.example"), kafka) as front:
        found = examine(front.address, properties=trusted)
    found.one_cause("tls.hostname", "another host", "subjectAltName")
    assert [found.status(name) for name in ("tls.chain", "tls.expiry")] == ["ok", "ok"]


def test_a_certificate_that_expires_soon(kafka: str, ca: trustme.CA, trusted: str) -> None:
    """It works, and warns in time."""
    with TlsFront(certified(ca, LOOPBACK, days=5.5), kafka) as front:
        found = examine(front.address, "--only", "tls", properties=trusted)
    assert (found.code, found.status("tls.expiry")) == (0, "warn")
    assert "expires in 5 days" in found.check("tls.expiry")["text"] or "in 6 days" in found.check("tls.expiry")["text"]


def test_a_listener_that_wants_a_certificate_of_ours(kafka: str, ca: trustme.CA, trusted: str, tmp_path: Path) -> None:
    """Without a client's certificate it is refused, and said, though TLS 1.3 tells so late; with one it is taken."""
    with TlsFront(certified(ca, LOOPBACK, client_ca=ca), kafka) as front:
        found = examine(front.address, properties=trusted)
        found.one_cause("tls.client", "certificate", "ssl.certificate.location")
        stranger = client_files(trustme.CA(), tmp_path)
        assert examine(front.address, properties=f"{trusted},{stranger}").root_cause == "tls.client"
        ours = client_files(ca, tmp_path)
        assert examine(front.address, "--only", "tls", properties=f"{trusted},{ours}").code == 0


def test_what_is_not_looked_at_is_said(kafka: str, ca: trustme.CA, trusted: str) -> None:
    """Switched-off checks of certificates and names are warnings."""
    with TlsFront(certified(ca, "kafka.example"), kafka) as front:
        anybody = f"{trusted},enable.ssl.certificate.verification=false"
        assert examine(front.address, "--only", "tls", properties=anybody).ids("warn") == ["tls.chain"]
        any_host = f"{trusted},ssl.endpoint.identification.algorithm=none"
        assert examine(front.address, "--only", "tls", properties=any_host).ids("warn") == ["tls.hostname"]


def test_a_file_that_is_not_there(kafka: str, tmp_path: Path) -> None:
    """A CA file that is missing is a matter of the settings, and nothing is asked for behind it."""
    found = examine(kafka, properties=f"security.protocol=SSL,ssl.ca.location={tmp_path / 'no.pem'}")
    found.one_cause("settings.client", "no.pem")


def test_one_of_two_addresses_is_enough(kafka: str) -> None:
    """A bootstrap address that is away is a warning while another one answers."""
    port = HeldPort()
    try:
        found = examine(f"{kafka},{port.address}")
        assert (found.code, found.status("network.tcp"), found.status("cluster.answer")) == (0, "warn", "ok")
        assert port.address in found.check("network.tcp")["text"]
        assert examine(f"{kafka},{port.address}", "--strict").code == 1
    finally:
        port.close()
