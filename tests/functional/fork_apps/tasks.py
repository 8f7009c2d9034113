"""A Celery application; run as a program, it sends as many tasks as it is told to. Its broker is a directory."""

import os
import sys
from pathlib import Path

from celery import Celery  # type: ignore[import-untyped]  # Celery has no types
from celery.signals import worker_process_shutdown  # type: ignore[import-untyped]

from .pipeline import meet, provider, say

queue = Path(os.environ["QUEUE"])
folders = {"data_folder_in": str(queue), "data_folder_out": str(queue), "control_folder": str(queue / "control")}
options = {**folders, "polling_interval": 0.05}
app = Celery("shop", broker="filesystem://", broker_transport_options=options)
say(f"{os.getpid()} starts")
provider.force_flush()
for n in range(20):
    say(f"{os.getpid()} goes on {n}")


def order(number: int) -> None:
    meet(number)
    say(f"task {number}")
    (queue.parent / "done" / str(number)).touch()


def flush(**_arguments: object) -> None:
    provider.force_flush()


task = app.task(order, name="order")
if os.environ["WAY_IN"] == "batch":
    # Celery's children end without atexit, too. They wait for a second before, as does the batch processor.
    worker_process_shutdown.connect(flush)

if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        task.delay(number)
