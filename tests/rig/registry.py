"""A real Schema Registry, Apicurio's, which speaks Confluent's protocol: in memory, and on 127.0.0.1 only."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from . import java
from .process import HeldPort, Server, wait_for_servers

START_TIMEOUT = 60.0


class SchemaRegistryServer(Server):
    """One registry; a context manager that starts it and, in the end, kills it."""

    def __init__(self, directory: Path) -> None:
        super().__init__("schema registry", directory)
        self._port = HeldPort()

    @property
    def url(self) -> str:
        """Where clients reach it; the same one after each start, with nothing registered then."""
        return f"http://{self._port.address}/apis/ccompat/v7"

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Start it, and wait until it answers."""
        folder = java.registry_folder()
        [jar] = folder.glob("*-runner.jar")
        host, port = self._port.address.split(":")
        options = {"quarkus.http.host": host, "quarkus.http.port": port, "quarkus.log.level": "WARN"}
        properties = [f"-D{name}={value}" for name, value in options.items()]
        self.launch(["java", "-Xmx160m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *properties, "-jar", str(jar)])
        wait_for_servers([self], self._answers, timeout=timeout, wanted="an answer")

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/subjects", timeout=1) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def __enter__(self) -> SchemaRegistryServer:  # noqa: PYI034 - Self needs Python 3.11 or a dependency
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()
        self._port.close()
