"""Do we trust the brokers' certificates, and they ours? librdkafka has one text for all that can be wrong."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from .check import Check, Finding, skipped, warn
from .reach import ask_each, connect, judged, os_problem
from .subject import Address, Subject
from .wire import NotKafkaError, api_versions

_EXPIRED, _NOT_YET, _HOST, _ADDRESS = 10, 9, 62, 64  # OpenSSL's X509_V_ERR_...
_SOON_DAYS = 21
_NO_TLS = "security.protocol is without TLS"
_NOTHING_GOES = "The client ends the connection before anything is sent: no record gets to Kafka."


class Shake(NamedTuple):
    """How a handshake ended.

    Attributes:
        code: OpenSSL's verdict on the certificate, 0 when it is trusted.
        problem: in words.
        not_after: when the certificate expires, in Unix seconds; 0 when that is not known.
    """

    code: int
    problem: str
    not_after: float = 0.0


def _context(subject: Subject, *, check_host: bool) -> ssl.SSLContext:
    """A context that trusts what librdkafka would.

    Raises:
        OSError: a file cannot be read.
    """
    client = subject.client
    location, pem = str(client.get("ssl.ca.location") or ""), client.get("ssl.ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_host
    if pem:
        context.load_verify_locations(cadata=str(pem))
    elif location and location != "probe":
        is_directory = Path(location).is_dir()
        context.load_verify_locations(**({"capath": location} if is_directory else {"cafile": location}))
    else:
        context.load_default_certs()
    certificate, key = client.get("ssl.certificate.location"), client.get("ssl.key.location")
    if certificate:
        context.load_cert_chain(
            str(certificate), None if key is None else str(key), str(client.get("ssl.key.password", ""))
        )
    return context


@contextmanager
def encrypted(subject: Subject, plain: socket.socket, address: Address) -> Iterator[socket.socket]:
    """A connection as the protocol of the settings has it; whom it trusts was checked before.

    Raises:
        OSError: TLS does not come about.
    """
    if not subject.has_tls:
        yield plain
        return
    context = _context(subject, check_host=False)
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(plain, server_hostname=address.host) as connection:
        yield connection


def shake(subject: Subject, address: Address, *, check_host: bool) -> Shake:
    """Shake hands."""
    context = _context(subject, check_host=check_host)
    try:
        with (
            connect(address, subject.patience) as connection,
            context.wrap_socket(connection, server_hostname=address.host) as shaken,
        ):
            certificate = shaken.getpeercert() or {}
            until = str(certificate.get("notAfter", ""))
            return Shake(0, "", ssl.cert_time_to_seconds(until) if until else 0.0)
    except ssl.SSLCertVerificationError as error:
        return Shake(error.verify_code, error.verify_message)


def _chain(subject: Subject) -> Finding:
    if not subject.has_tls:
        return skipped(_NO_TLS)
    if subject.is_unchecked:
        return warn(
            "enable.ssl.certificate.verification=false: no certificate is looked at",
            "Whoever stands between can read and change every record, and gets the password.",
            "Set ssl.ca.location to the CA's certificate instead.",
        )

    def ask(address: Address) -> str:
        code, problem, _ = shake(subject, address, check_host=False)
        return "" if code in {0, _EXPIRED, _NOT_YET} else f"its certificate is not trusted: {problem}"

    location = subject.client.get("ssl.ca.location", "the system's CAs")
    return judged(
        ask_each(subject.usable, subject.seconds, ask),
        f"trusted by {location}",
        _NOTHING_GOES,
        f"It was held against {location}. Set ssl.ca.location in producer_config to a PEM file with the CA that has"
        " signed the brokers' certificates, and have brokers send the certificates between.",
    )


def _expiry(subject: Subject) -> Finding:
    if not subject.has_tls or subject.is_unchecked:
        return skipped("certificates are not looked at" if subject.has_tls else _NO_TLS)
    ends: dict[Address, float] = {}

    def ask(address: Address) -> str:
        code, problem, ends[address] = shake(subject, address, check_host=False)
        return problem if code in {_EXPIRED, _NOT_YET} else ""

    finding = judged(
        ask_each(subject.usable, subject.seconds, ask),
        "no certificate expires soon",
        _NOTHING_GOES,
        "Renew the broker's certificate; if it is valid, this machine's clock is wrong.",
    )
    days = {address: (end - time.time()) / 86_400 for address, end in ends.items() if end}
    if finding.todo or not days:
        return finding
    first = min(days, key=days.__getitem__)
    if days[first] < _SOON_DAYS:
        return warn(
            f"{first}: its certificate expires in {days[first]:.0f} days",
            "From then on no record gets to Kafka.",
            "Renew the broker's certificate.",
        )
    return finding._replace(text=f"the first certificate to expire has {days[first]:.0f} days")


def _hostname(subject: Subject) -> Finding:
    if not subject.has_tls or subject.is_unchecked:
        return skipped("certificates are not looked at" if subject.has_tls else _NO_TLS)
    if not subject.checks_host:
        return warn(
            "ssl.endpoint.identification.algorithm=none: a certificate of any host is taken",
            "Whoever has a certificate of the same CA can stand between, and gets the password.",
            "Remove the property, and have the brokers' certificates name their hosts.",
        )
    return judged(
        ask_each(subject.usable, subject.seconds, partial(host_problem, subject)),
        "the certificates are of these hosts",
        _NOTHING_GOES,
        "Use the name that is in the certificate (openssl s_client -connect HOST:PORT shows it), or have one made with"
        " this name under subjectAltName.",
    )


def host_problem(subject: Subject, address: Address) -> str:
    """Why a certificate is not of the host."""
    code, problem, _ = shake(subject, address, check_host=True)
    return f"its certificate is of another host: {problem}" if code in {_HOST, _ADDRESS} else ""


def _client_certificate(subject: Subject) -> Finding:
    if not subject.has_tls:
        return skipped(_NO_TLS)
    if subject.client.get("ssl.certificate.pem") or subject.client.get("ssl.keystore.location"):
        return skipped("of a keystore or a PEM text; cluster.answer presents it")

    def ask(address: Address) -> str:
        try:
            with connect(address, subject.patience) as plain, encrypted(subject, plain, address) as connection:
                # With TLS 1.3 a server's refusal comes behind the handshake.
                api_versions(connection, subject.patience)
        except ssl.SSLError as error:
            return f"it refuses our certificate: {(error.reason or str(error)).lower().replace('_', ' ')}"
        except NotKafkaError as error:
            return "expected Kafka within TLS, got " + (
                "no answer" if error.kind in {"silent", "closed"} else error.kind
            )
        except OSError as error:
            return os_problem(error)
        return ""

    has_own = bool(subject.client.get("ssl.certificate.location"))
    return judged(
        ask_each(subject.usable, subject.seconds, ask),
        "our certificate is taken" if has_own else "no certificate of ours is asked for",
        _NOTHING_GOES,
        "The listener wants a client's certificate that its own CA has signed: set ssl.certificate.location,"
        " ssl.key.location and ssl.key.password in producer_config_file.",
    )


CHECKS = (
    Check("tls.chain", _chain, ("network.protocol",)),
    Check("tls.expiry", _expiry, ("tls.chain",)),
    Check("tls.hostname", _hostname, ("tls.expiry",)),
    Check("tls.client", _client_certificate, ("tls.hostname",)),
)
