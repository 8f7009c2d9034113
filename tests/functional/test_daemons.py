"""Daemons that close every descriptor that there is, and open others that get the same numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Closes all descriptors, and has others in their place from then on.
CLOSE_ALL = """
import os, sys, time
from pathlib import Path
def close_all():
    os.closerange(3, 256)
    return [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
def intact(foreign):
    null = os.stat("/dev/null")
    return all(os.path.samestat(os.fstat(number), null) for number in foreign)
"""

OUTBOX = """
from otel_kafka_exporter.outbox import Outbox, Stream
from otel_kafka_exporter.errors import OutboxError
outbox = Outbox(Path(sys.argv[1]), "configuration", 1 << 22, {}, lambda *_: None)
before = [outbox.append(Stream(category), b"before") for category in ("application", "audit", "security")]
foreign = close_all()
outbox.check()
outbox.append(Stream("audit"), b"after")
outbox.set_state(before[0], 0x3C)
try:
    outbox.sync(before[1])
except OutboxError as error:
    print(error)
outbox.check()
assert len(list(Path(sys.argv[1]).rglob("owner"))) == 2, "a lock that is held, and the one that is not"
outbox.ATTRIBUTE
"""

#: The C library ends a process that closes a descriptor by which another thread of its resolves a name: so librdkafka
#: has done that before, and does not again.
PIPELINE = """
from opentelemetry.sdk._logs import LoggerProvider
from otel_kafka_exporter import KafkaLogRecordProcessor, emit_audit_event
processor = KafkaLogRecordProcessor(
    bootstrap_servers="127.0.0.1:1", delivery_wait=0.2, producer_config={"broker.address.ttl": 86_400_000}
)
provider = LoggerProvider(shutdown_on_exit=False)
provider.add_log_record_processor(processor)
def emit():
    emit_audit_event("a", "b", "c", "success", logger=provider.get_logger("x"))
emit()
if os.fork():
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
emit()
while not processor.stats().spooled:
    time.sleep(0.01)
os.closerange(3, 256)
emit()
provider.shutdown()
assert processor.stats().spooled == 2, processor.stats()
print("shut down")
sys.stdout.flush()
os._exit(0)
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CLOSE_ALL + script, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("end", ["close", "abandon"])
def test_no_descriptor_of_somebody_elses_is_closed(tmp_path: Path, end: str) -> None:
    """An outbox whose descriptors were closed, and their numbers reused, goes on, and closes none of the new ones."""
    checked = OUTBOX.replace("outbox.ATTRIBUTE", f"outbox.{end}()\nassert intact(foreign)\nos._exit(0)")
    ended = run(checked, str(tmp_path))
    assert (ended.returncode, ended.stderr) == (0, "")
    again = "".join(path.read_bytes().decode("latin-1") for path in tmp_path.rglob("audit*.segment"))
    assert ("before" in again, "after" in again) == (True, True)


def test_a_shutdown_of_a_daemon_does_not_raise() -> None:
    """A child that closes all descriptors shuts down as always, and what it has in hand is kept."""
    ended = run(PIPELINE)
    assert (ended.returncode, ended.stdout) == (0, "shut down\n"), ended.stderr
    assert "Traceback" not in ended.stderr
