"""Can the bootstrap addresses be reached, and is it a Kafka listener of the right kind that answers?"""

from __future__ import annotations

import ssl

from .check import Check, Finding
from .reach import ask_each, connect, judged, resolve
from .subject import Address, Subject
from .wire import NotKafkaError, api_versions

_NO_ROUTE = "No record gets to Kafka from here; with an outbox they wait on the disk, without one they are dropped."


def _dns(subject: Subject) -> Finding:
    found = ask_each(subject.usable, subject.patience, resolve)
    subject.usable = _well(found)
    return judged(
        found,
        f"resolved: {', '.join(address.host for address in found)}",
        _NO_ROUTE,
        "Correct bootstrap_servers, or the name server's or /etc/hosts' entry of the host. In a container, names of its"
        " own network count: localhost is the container itself.",
    )


def _tcp(subject: Subject) -> Finding:
    def ask(address: Address) -> str:
        with connect(address, subject.patience):
            return ""

    found = ask_each(subject.usable, subject.seconds, ask)
    subject.usable = _well(found)
    return judged(
        found,
        f"connected to {', '.join(map(str, found))}",
        _NO_ROUTE,
        "Refused: nothing listens on that port; start the broker or correct the port. No answer: a firewall, a security"
        " group or a network policy stands between; open the port.",
    )


def _speaks(subject: Subject) -> Finding:
    kinds: dict[Address, str] = {}

    def ask(address: Address) -> str:
        kinds[address] = kind = _kind(address, subject.patience / 2, expects_tls=subject.has_tls)
        wanted = "tls" if subject.has_tls else "kafka"
        return "" if kind == wanted else _GOT[kind]

    found = ask_each(subject.usable, subject.seconds, ask)
    subject.usable = _well(found)
    got = next((kind for address, kind in kinds.items() if found[address]), "silent")
    advice = {
        ("tls", False): "Set security.protocol=SSL or SASL_SSL in producer_config, or take the port without TLS.",
        (
            "kafka",
            True,
        ): "Take the port of the listener with TLS, or set security.protocol=PLAINTEXT or SASL_PLAINTEXT.",
    }.get(
        (got, subject.has_tls), "Take the port of a Kafka listener; a proxy, another service or a hung broker is there."
    )
    said = "TLS" if subject.has_tls else "Kafka in plain text"
    return judged(found, f"{said}, as security.protocol={subject.protocol} expects", _NO_ROUTE, advice)


_GOT = {
    "kafka": "expected TLS, got Kafka in plain text",
    "tls": "expected Kafka in plain text, got TLS",
    "http": "expected Kafka, got an HTTP server's answer",
    "silent": "it takes connections and never answers",
    "closed": "it closes the connection without an answer",
    "other": "expected Kafka, got something else",
}


def _kind(address: Address, seconds: float, *, expects_tls: bool) -> str:
    """What listens there; first tried is what it should be, since the other one is an error in a broker's log."""
    if expects_tls and _speaks_tls(address, seconds):
        return "tls"
    with connect(address, seconds) as connection:
        try:
            api_versions(connection, seconds)
        except NotKafkaError as error:
            kind = error.kind
        else:
            return "kafka"
    # A broker closes a connection that does not begin with TLS, or says nothing on it.
    might_be_tls = not expects_tls and kind in {"tls", "closed", "silent", "other"}
    return "tls" if might_be_tls and _speaks_tls(address, seconds) else kind


def _speaks_tls(address: Address, seconds: float) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with connect(address, seconds) as connection, context.wrap_socket(connection, server_hostname=address.host):
            return True
    except ssl.SSLError as error:
        # It has understood, and wants a certificate or another version.
        return "ALERT" in str(error.reason)
    except OSError:
        return False


def _well(found: dict[Address, str]) -> list[Address]:
    return [address for address, problem in found.items() if not problem]


CHECKS = (
    Check("network.dns", _dns, ("settings.values",)),
    Check("network.tcp", _tcp, ("settings.values", "network.dns")),
    Check("network.protocol", _speaks, ("settings.client", "network.tcp")),
)
