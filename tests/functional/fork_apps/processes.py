"""Processes and a pool of `multiprocessing`; the argument is how they are started."""

import multiprocessing
import os
import sys

from .pipeline import meet, provider, say

say("imported")  # by the parent, and by each child that does not inherit it


def work(name: str, number: int) -> None:
    if name == "pool":
        meet(number)
    for n in range(5):
        say(f"{name} {number} says {n}")
    if os.environ["WAY_IN"] == "batch" and multiprocessing.get_start_method() != "spawn":
        # What is in the queue of OpenTelemetry's batch processor is the SDK's, and that waits for atexit, which these
        # children end without (spawned ones do not). The direct processor has no queue, and needs no line here.
        provider.force_flush()


def main(method: str) -> None:
    say("the parent starts")
    provider.force_flush()
    say("the parent goes on")
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload([say.__module__])  # which is then inherited from the server
    processes = [context.Process(target=work, args=("process", n)) for n in range(2)]  # type: ignore[attr-defined]  # every context has it
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    pool = context.Pool(2)
    pool.starmap(work, [("pool", n) for n in range(6)], chunksize=1)
    pool.close()
    pool.join()
    say("the parent ends")


if __name__ == "__main__":
    main(sys.argv[1])
