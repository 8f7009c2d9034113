"""Forks in the middle of traffic. The argument is how each child ends: by `force_flush` or by `shutdown`."""

import os
import signal
import sys
import threading
import time

from .pipeline import provider, say

THREADS, FORKS, RECORDS_PER_FORK = 4, 12, 80
SECONDS = 20

permits = threading.Semaphore(0)
stop = threading.Event()


def traffic(name: int, said: list[int]) -> None:
    """Says as much as it is permitted to, at once."""
    while permits.acquire() and not stop.is_set():
        say(f"thread {name} says {len(said)}")
        said.append(1)


def child(number: int) -> None:
    for n in range(3):
        say(f"child {number} says {n}")
    if sys.argv[1] == "force_flush":
        provider.force_flush()
    else:
        provider.shutdown()


def wait_for(pid: int) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            if status:
                sys.exit(f"a child ended with status {status}")
            return
        stop.wait(0.005)
    os.kill(pid, signal.SIGABRT)  # Python then says where each of its threads is
    os.waitpid(pid, 0)
    sys.exit(f"a child did not end within {SECONDS} s")


def main() -> None:
    say("the parent starts")
    provider.force_flush()  # the exporter is in use from here on
    said: list[list[int]] = [[] for _ in range(THREADS)]
    threads = [threading.Thread(target=traffic, args=(n, said[n]), daemon=True) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for fork in range(FORKS):
        permits.release(RECORDS_PER_FORK)
        while sum(map(len, said)) < fork * RECORDS_PER_FORK + RECORDS_PER_FORK // 2:
            stop.wait(0.0001)
        pid = os.fork()
        if pid == 0:
            child(fork)
            os._exit(0)
        wait_for(pid)
    stop.set()
    permits.release(THREADS)
    for thread in threads:
        thread.join()
    sys.stdout.write(" ".join(str(len(texts)) for texts in said))


main()
