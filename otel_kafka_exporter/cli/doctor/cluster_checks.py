"""Does the cluster let us in, and can every broker be reached at the address that it gives itself?"""

from __future__ import annotations

from confluent_kafka import KafkaError

from otel_kafka_exporter.cli.admin import RefusedError

from .check import Check, Finding, fail, ok, warn
from .reach import ask_each, connect, judged, resolve
from .subject import Address, Subject, parse_address
from .tls_checks import encrypted, host_problem
from .wire import NO_LOGIN_HERE, NO_SUCH_MECHANISM, NotKafkaError, sasl_mechanisms

_WAITS = "No record gets to Kafka; with an outbox they wait on the disk."
_UNKNOWN_MECHANISM = "PLAIN"  # for who has none: whatever the answer, it says whether there is a login


def _mechanism(subject: Subject) -> Finding:
    advice: list[str] = []

    def ask(address: Address) -> str:
        wanted = subject.mechanism if subject.has_sasl else _UNKNOWN_MECHANISM
        try:
            with connect(address, subject.patience) as plain, encrypted(subject, plain, address) as connection:
                code, offered = sasl_mechanisms(connection, wanted, subject.patience)
        except NotKafkaError as error:
            # A broker that does not know the question. Without SASL that is as it should be.
            return f"it does not answer to a login ({error.kind})" if subject.has_sasl else ""
        if not subject.has_sasl:
            if code == NO_LOGIN_HERE or not offered:
                return ""
            advice.append(
                f"Set security.protocol=SASL_{'SSL' if subject.has_tls else 'PLAINTEXT'}, sasl.mechanism="
                f"{offered[0]}, sasl.username and sasl.password in producer_config_file; or take a port without SASL."
            )
            return f"it asks for a login ({', '.join(offered)}), and none is set"
        if code == NO_LOGIN_HERE:
            advice.append(
                f"Set security.protocol={'SSL' if subject.has_tls else 'PLAINTEXT'}, or take the port of the listener"
                " with SASL."
            )
            return "expected a login, got a listener without SASL"
        if code == NO_SUCH_MECHANISM:
            advice.append(f"Set sasl.mechanism={offered[0] if offered else '...'} in producer_config.")
            return f"it has no {wanted}; it has {', '.join(offered) or 'none'}"
        return f"it refuses {wanted} with code {code}" if code else ""

    found = ask_each(subject.usable, subject.seconds, ask)
    well = f"{subject.mechanism}, as it has" if subject.has_sasl else "no login is asked for"
    return judged(found, well, _WAITS, advice[0] if advice else "Look at the broker's sasl.enabled.mechanisms.")


def _answer(subject: Subject) -> Finding:
    try:
        metadata = subject.admin().metadata()
    except RefusedError as error:
        if error.code == KafkaError._AUTHENTICATION:  # noqa: SLF001 - public, in spite of its spelling
            user = subject.client.get("sasl.username", "")
            return fail(
                f"the login{f' of {user}' if user else ''} is refused: {error}",
                f"{_WAITS} Some clusters lock a user after many attempts.",
                "Correct sasl.username and sasl.password, in producer_config_file best; a password with a comma cannot"
                " stand in OTEL_EXPORTER_KAFKA_PRODUCER_CONFIG. With SCRAM a user exists for one mechanism each.",
            )
        if error.advertised:
            subject.advertised = {parse_address(address): broker for broker, address in error.advertised.items()}
            subject.refused = str(error)
            return ok(f"a cluster that sends clients to {', '.join(error.advertised.values())}")
        return fail(
            f"no answer to a client: {error}",
            _WAITS,
            "The port answers, the client does not get through: look at the broker's log for this address.",
        )
    subject.metadata = metadata
    subject.advertised = {
        parse_address(f"{broker.host}:{broker.port}"): broker.id for broker in metadata.brokers.values()
    }
    brokers = [f"{broker.host}:{broker.port}/{broker.id}" for broker in metadata.brokers.values()]
    who = f"logged in by {subject.mechanism}; " if subject.has_sasl else ""
    return ok(f"{who}cluster {metadata.cluster_id}, brokers: {len(brokers)}", brokers=brokers)


def _controller(subject: Subject) -> Finding:
    metadata = subject.metadata
    if metadata.controller_id not in metadata.brokers:
        return warn(
            "no controller is named",
            "Topics cannot be made, nor leaders chosen, until there is one; an embedded broker has none ever.",
            "Look at the controllers' logs; a quorum needs more than half of them.",
        )
    return ok(f"broker {metadata.controller_id}")


def _listeners(subject: Subject) -> Finding:
    advertised = subject.advertised

    def ask(address: Address) -> str:
        problem = resolve(address)
        if problem:
            return problem
        with connect(address, subject.patience):
            pass
        return host_problem(subject, address) if subject.checks_host else ""

    found = ask_each(list(advertised), subject.seconds, ask)
    problems = {address: problem for address, problem in found.items() if problem}
    if not problems and subject.refused:
        problems = dict.fromkeys(found, f"it can be reached, and answers no client ({subject.refused})")
    if not problems:
        return ok(
            f"every advertised address can be reached: {', '.join(map(str, found))}",
            addresses=[str(each) for each in found],
        )
    text = "; ".join(f"broker {advertised[address]} says {address}: {problem}" for address, problem in problems.items())
    return fail(
        text,
        "The bootstrap address answers and sends clients there. Records for the partitions of these brokers do not"
        " arrive, while the others may.",
        "Set advertised.listeners of the brokers to names that resolve from here, and open their ports; a cluster in"
        " containers needs a listener of its own for those outside.",
        addresses={str(address): problem or "ok" for address, problem in found.items()},
    )


CHECKS = (
    Check("sasl.mechanism", _mechanism, ("tls.client",)),
    Check("cluster.answer", _answer, ("sasl.mechanism",)),
    Check("cluster.listeners", _listeners, ("cluster.answer",)),
    Check("cluster.controller", _controller, ("cluster.listeners",)),
)
