"""A receiver of OTLP over HTTP: the backend behind a Collector."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from .process import LOOPBACK


class Received(NamedTuple):
    """One log record, with what OTLP has beside it.

    Attributes:
        record: it.
        resource: its resource's attributes that are texts.
        scope: its scope's name.
    """

    record: LogRecord
    resource: dict[str, str]
    scope: str


class OtlpReceiver:
    """A context manager that keeps every log record that it is sent.

    Attributes:
        status: what requests are answered with: 200 takes them, 503 is away, 400 refuses them for good.
    """

    def __init__(self) -> None:
        self.status = 200
        self._received: list[Received] = []
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                status = receiver.take(body)
                answer = ExportLogsServiceResponse().SerializeToString()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Nothing: tests look at what came."""

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def endpoint(self) -> str:
        """Where to send to."""
        return f"http://{LOOPBACK}:{self._server.server_port}"

    def take(self, body: bytes) -> int:
        """Keep what a request has, if it is to be taken; the status to answer with."""
        status = self.status
        if status == 200:
            request = ExportLogsServiceRequest.FromString(body)
            found = [
                Received(
                    record, {each.key: each.value.string_value for each in logs.resource.attributes}, scope.scope.name
                )
                for logs in request.resource_logs
                for scope in logs.scope_logs
                for record in scope.log_records
            ]
            with self._lock:
                self._received += found
        return status

    def received(self) -> list[Received]:
        """What has come so far."""
        with self._lock:
            return list(self._received)

    def __enter__(self) -> OtlpReceiver:  # noqa: PYI034 - Self needs Python 3.11 or a dependency
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
