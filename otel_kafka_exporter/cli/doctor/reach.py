"""One question to several addresses at once, and what their answers come to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence

from otel_kafka_exporter.process import monotonic

from .check import Finding, fail, ok, warn
from .subject import Address


def ask_each(addresses: Sequence[Address], seconds: float, ask: Callable[[Address], str]) -> dict[Address, str]:
    """What is wrong with each address: an empty text where nothing is.

    Args:
        addresses: whom to ask; each on a thread of its own.
        seconds: how long all together may take; whoever has not answered by then is said to.
        ask: finds a problem; an OSError is one as well.
    """
    found: dict[Address, str] = {}

    def run(address: Address) -> None:
        try:
            found[address] = ask(address)
        except OSError as error:
            found[address] = os_problem(error)

    threads = [threading.Thread(target=run, args=(address,), daemon=True) for address in dict.fromkeys(addresses)]
    for thread in threads:
        thread.start()
    deadline = monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
    return {address: found.get(address, f"no answer within {seconds:.0f} s") for address in dict.fromkeys(addresses)}


def judged(found: dict[Address, str], well: str, means: str, todo: str) -> Finding:
    """One finding of all answers: with none that is well it is a failure, with some a warning."""
    problems = [f"{address}: {problem}" for address, problem in found.items() if problem]
    details = {"addresses": {str(address): problem or "ok" for address, problem in found.items()}}
    if not problems:
        return ok(well, **details)
    text = "; ".join(problems)
    if len(problems) == len(found):
        return fail(text, means, todo, **details)
    also = f"The other {len(found) - len(problems)} of {len(found)} bootstrap addresses do, and one is enough to begin."
    return warn(text, f"{means} {also}", todo, **details)


def resolve(address: Address) -> str:
    """Why a host has no address; empty when it has."""
    try:
        socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return f"the name does not resolve ({error.strerror})"
    except UnicodeError:
        return "the name does not resolve (it is no name)"
    return ""


def connect(address: Address, seconds: float) -> socket.socket:
    """A connection.

    Raises:
        OSError: there is none.
    """
    return socket.create_connection((address.host, address.port), timeout=seconds)


def os_problem(error: OSError) -> str:
    """An error of a connection in a few words."""
    if isinstance(error, TimeoutError):
        return "nothing answers; packets are dropped on the way, or there is no such machine"
    return (error.strerror or str(error) or type(error).__name__).lower()
