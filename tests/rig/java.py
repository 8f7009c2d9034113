"""Java, the broker's jars and an archive of its loaded classes.

What is fetched or built is kept in a cache directory that outlives the run. Each entry comes into being by a
rename, so a half-made one is never seen, and under a file lock, so that of several runs one makes it and the
others wait.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import logging
import os
import re
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from .process import CommandFailed, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).parent
POM = HERE / "pom.xml"
LOG4J = HERE / "log4j2.yaml"

#: Compatible with Confluent's; the newest that runs with Java 17.
REGISTRY = "io.apicurio:apicurio-registry-app:2.6.13.Final:tar.gz:all"

CACHE_VARIABLE = "OTEL_KAFKA_RIG_CACHE"

OLDEST_JAVA = 17
"""The oldest version that runs a Kafka 4 broker."""

FETCH_TIMEOUT = 600.0

JVM_OPTIONS = (
    # Starts and fits in memory three times on a small machine; throughput comes second.
    "-Xmx192m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    # A broker that lingers after an OutOfMemoryError makes a test hang instead of fail.
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.net.preferIPv4Stack=true",
    "-Dlog4j2.disable.jmx=true",
)

_log = logging.getLogger(__name__)


class FetchFailed(Exception):  # noqa: N818 - says what happened
    """Maven could not bring the jars; the text has what it said."""


def missing() -> list[str]:
    """What has to be installed before a broker can run here, one sentence each; empty if nothing."""
    lacks = []
    if not hasattr(os, "pidfd_open"):
        lacks.append("Linux is needed: elsewhere brokers could outlive the tests.")
    if shutil.which("java") is None:
        lacks.append("java is not on the PATH: apt-get install default-jre-headless")
    elif (version := java_major()) < OLDEST_JAVA:
        lacks.append(
            f"java {OLDEST_JAVA} or newer is needed, found {version}: "
            f"apt-get install openjdk-{OLDEST_JAVA}-jre-headless"
        )
    if shutil.which("mvn") is None and not _jar_folder().exists():
        lacks.append("mvn is not on the PATH: apt-get install maven")
    return lacks


def cache_root() -> Path:
    """Where the jars are kept; a variable that is empty counts as not set."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).absolute()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification: a relative path is invalid and to be ignored.
    base = shared if shared.is_absolute() else Path.home() / ".cache"
    return base / "otel-kafka-exporter-rig"


def jars() -> Path:
    """The folder with the broker's jars, fetched with Maven if it is not there yet."""
    return make_once(_jar_folder(), _fetch)


def registry_folder() -> Path:
    """The folder of the Schema Registry, fetched with Maven if it is not there yet."""
    return make_once(cache_root() / _digest(REGISTRY.encode()) / "registry", _fetch_registry)


def _fetch_registry(folder: Path) -> None:
    folder.mkdir()
    copy = ["mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"]
    run([*copy, f"-Dartifact={REGISTRY}", f"-DoutputDirectory={folder}"], timeout=FETCH_TIMEOUT, cwd=folder)
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    archive.unlink()


def command(main: str, *args: str, options: Sequence[str] = ()) -> list[str]:
    """The command line that runs a Java class of the broker."""
    # Spelled out and sorted: the launcher expands `*` in directory order, and a class archive is only good for
    # the class path it was made with.
    path = os.pathsep.join(sorted(str(jar) for jar in jars().glob("*.jar")))
    log_setup = f"-Dlog4j2.configurationFile={LOG4J}"
    return ["java", *JVM_OPTIONS, log_setup, *options, "-cp", path, main, *args]


@functools.cache
def fast_start(rehearse: Callable[[str], None]) -> Sequence[str]:
    """The JVM options for a class archive (AppCDS), which halves a broker's start and its memory.

    `rehearse` starts a broker with the JVM option it is given, uses it, and stops it.
    """
    # An archive is good for one Java, one class path and one garbage collector.
    made_with = "\n".join([java_version(), *JVM_OPTIONS])
    jars()  # here, as without them it is not only speed that is lost
    target = _entry() / f"classes-{_digest(made_with.encode())}.jsa"

    def make(archive: Path) -> None:
        rehearse(f"-XX:ArchiveClassesAtExit={archive}")
        if not archive.exists():
            raise FileNotFoundError(f"the JVM did not write {archive}")

    try:
        return (f"-XX:SharedArchiveFile={make_once(target, make)}",)
    except Exception:  # noqa: BLE001
        # Only speed is lost, and a broker that cannot start at all says so itself.
        _log.warning("no class archive: brokers will start slowly", exc_info=True)
        return ()


@functools.cache
def java_version() -> str:
    """What `java -version` says."""
    return run(["java", "-version"], timeout=60)


def java_major() -> int:
    """The feature version: 17 for 17.0.15, 8 for 1.8.0_452."""
    said = re.search(r'version "(?:1\.)?(\d+)', java_version())
    return int(said.group(1)) if said else 0


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _entry() -> Path:
    return cache_root() / _digest(POM.read_bytes())


def _jar_folder() -> Path:
    return _entry() / "jars"


def _fetch(folder: Path) -> None:
    maven = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
    maven.append(f"-DoutputDirectory={folder}")
    try:
        run(maven, timeout=FETCH_TIMEOUT, cwd=folder.parent)
    except CommandFailed as first:
        _log.warning("fetching Kafka failed, trying once more: %s", first)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            # -U: Maven remembers a failed download and would not ask again.
            run([*maven, "-U"], timeout=FETCH_TIMEOUT, cwd=folder.parent)
        except CommandFailed as second:
            raise FetchFailed(
                "Maven could not fetch Kafka's jars, twice. It needs Maven Central, or a mirror "
                "of it in ~/.m2/settings.xml; with a folder filled on another machine, set "
                f"{CACHE_VARIABLE}.\n{second}"
            ) from None
    if not any(folder.glob("kafka-server-*.jar")):
        raise FetchFailed(f"Maven reported success, but {POM} brought no broker into {folder}")


def make_once(target: Path, make: Callable[[Path], None]) -> Path:
    """Return `target`; if it does not exist, have `make` make it at the path it is given."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("wb") as lock:
        # Waits as long as the other run takes, which has timeouts of its own; the kernel releases the lock of
        # one that was killed.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return target
        # One fixed name, ours while we hold the lock: leftovers do not pile up.
        scratch = target.with_name(f"{target.name}.new")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            make(scratch / target.name)
            (scratch / target.name).rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return target
