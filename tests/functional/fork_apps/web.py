"""A WSGI application. Each answer is the number of the process that gave it."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from .pipeline import meet, provider, say

# With --preload this runs in gunicorn's master, and in each worker without.
say(f"{os.getpid()} starts")
provider.force_flush()  # the exporter is in use from here on, its client and that client's threads too
for n in range(20):
    say(f"{os.getpid()} goes on {n}")  # on its way when the workers are forked


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    number = int(environ["PATH_INFO"].strip("/"))
    meet(number)
    say(f"request {number}")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
