"""A process that starts as root and becomes another user: what it has kept stays, and what it cannot keep is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

OTHER = 54_321

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

#: Logs as root, and then as somebody else; its child logs too. The outbox is looked at each second.
BECOME = f"""
import os, sys, time
from opentelemetry.sdk._logs import LoggerProvider
from otel_kafka_exporter import KafkaLogRecordProcessor, emit_audit_event
processor = KafkaLogRecordProcessor(bootstrap_servers="127.0.0.1:1", delivery_wait=0.2)
provider = LoggerProvider(shutdown_on_exit=False)
provider.add_log_record_processor(processor)
def audit():
    emit_audit_event("a", "b", "c", "success", logger=provider.get_logger("x"))
audit()
os.setgid({OTHER}); os.setuid({OTHER})
audit()
if os.fork() == 0:
    audit()
    provider.shutdown()
    print(dict(processor.stats().dropped), flush=True)
    os._exit(0)
os.wait()
time.sleep(2.5)  # the looks that this is about
provider.shutdown()
print(processor.stats().spooled, flush=True)
os._exit(0)
"""


def test_what_root_has_kept_stays_and_a_child_says_whose_directory_it_needs(tmp_path: Path) -> None:
    """Both events are in the outbox, nothing is taken for removed, and the child's line names the user."""
    ended = subprocess.run(
        [sys.executable, "-c", BECOME],
        env={**os.environ, "OTEL_EXPORTER_KAFKA_OUTBOX_DIR": str(tmp_path / "outbox")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout == "{'outbox_unavailable': 1}\n2\n", ended.stderr
    assert f"expected a directory that user {OTHER} can write to" in ended.stderr
    assert "were removed" not in ended.stderr
