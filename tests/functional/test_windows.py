"""Without what only POSIX has, as on Windows: what needs no fork and no lock of files works, the rest says so.

The names are taken away after the libraries below us are loaded, which bring what they need for either.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from otel_kafka_exporter.testing import EmbeddedKafka
from tests.unit.test_docs import ROOT

from .pipelines import arrived

#: What Python's documentation says is there on Unix only.
HIDE = """
    import asyncio, importlib.metadata, multiprocessing, os, mmap, signal, subprocess, sys, time
    import confluent_kafka.admin, google.protobuf, platformdirs
    import opentelemetry._logs, opentelemetry.metrics, opentelemetry.sdk._logs.export, opentelemetry.sdk.resources

    for module in ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"):
        sys.modules[module] = None
    here = {
        os: '''
            chown chroot confstr ctermid eventfd fchdir fchmod fchown fdatasync fork forkpty
            fpathconf fstatvfs getegid geteuid getgid getgroups getpgid getpgrp getpriority
            getresuid getsid getuid initgroups killpg lchown lockf major makedev memfd_create minor
            mkfifo mknod nice openpty pathconf pipe2 posix_fadvise posix_fallocate posix_spawn pread
            preadv pwrite pwritev readv register_at_fork sched_getaffinity sched_yield sendfile
            setegid seteuid setgid setgroups setpgid setpriority setsid setuid statvfs sync sysconf
            tcgetpgrp tcsetpgrp ttyname uname wait wait3 wait4 waitid writev O_CLOEXEC O_DIRECTORY
            O_DSYNC O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC WNOHANG WIFEXITED WEXITSTATUS
        ''',
        mmap: "MAP_ANON MAP_ANONYMOUS MAP_PRIVATE MAP_SHARED PROT_READ PROT_WRITE MADV_DONTNEED",
        signal: "SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGCHLD SIGALRM SIGPIPE SIGSTOP SIGCONT alarm setitimer",
        time: "clock_gettime clock_gettime_ns CLOCK_MONOTONIC CLOCK_REALTIME",
    }
    for module, names in here.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
"""


def run(program: str, *arguments: str, outbox_dir: Path) -> str:
    """What a program says on stderr that runs well without those names."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HIDE) + textwrap.dedent(program), *arguments],
        cwd=ROOT,
        env=os.environ | {"OTEL_EXPORTER_KAFKA_OUTBOX_DIR": str(outbox_dir)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_reading(tmp_path: Path) -> None:
    """Readers need neither: envelopes are decoded, and become OTLP again."""
    program = """
        from otel_kafka_exporter import decode, to_otlp

        value = (
            b'{"event_type":"omninode.logging.application.v1","event_id":"0190b6a5-7e1c-7000-8000-000000000001",'
            b'"timestamp":"2026-01-02T03:04:05.000006Z","tenant_id":"default","namespace":"omninode","source":"shop",'
            b'"correlation_id":"c","causation_id":"c","schema_ref":"registry://omninode/logging/application/v1",'
            b'"payload":{"service_name":"shop","instance_id":"1","level":"INFO","logger":"l","message":"hello","code":"C",'
            b'"context":{}}}'
        )
        assert to_otlp(decode(value), []).body.string_value == "hello"
    """
    assert run(program, outbox_dir=tmp_path) == ""


@pytest.mark.parametrize(("settings", "says"), [("outbox=False", False), ("", True)])
def test_an_exporter(embedded_kafka: EmbeddedKafka, tmp_path: Path, settings: str, *, says: bool) -> None:
    """It delivers without an outbox, and says that there is none unless that was asked for."""
    program = f"""
        from opentelemetry.sdk._logs import LoggerProvider
        from otel_kafka_exporter import KafkaLogRecordProcessor

        processor = KafkaLogRecordProcessor(bootstrap_servers=sys.argv[1], {settings})
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(processor)
        provider.get_logger("shop").emit(body="hello")
        provider.shutdown()
        assert processor.stats().delivered == 1, processor.stats()
    """
    said = run(program, embedded_kafka.bootstrap_servers, outbox_dir=tmp_path / "outbox")
    assert ("there is no outbox on this operating system" in said) is says
    assert arrived(embedded_kafka) == ["hello"]
    assert not (tmp_path / "outbox").exists()


def test_an_outbox_that_is_asked_for(tmp_path: Path) -> None:
    """It is refused, with the reason."""
    program = """
        from otel_kafka_exporter import KafkaLogExporter, SettingsError

        try:
            KafkaLogExporter(bootstrap_servers="localhost:9092", outbox=True)
        except SettingsError as error:
            assert "outbox: expected false" in str(error) and "flock" in str(error), error
        else:
            raise AssertionError("no error")
    """
    assert run(program, outbox_dir=tmp_path) == ""


def test_a_publisher(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """It publishes and stops; an event's acknowledgement is awaited as anywhere."""
    program = """
        from otel_kafka_exporter import LoggingEventPublisher

        async def main():
            publisher = LoggingEventPublisher(sys.argv[1])
            await publisher.start()
            assert await publisher.publish_application_log("shop", "1", "INFO", "l", "hello", "C")
            await publisher.stop()

        asyncio.run(main())
    """
    assert run(program, embedded_kafka.bootstrap_servers, outbox_dir=tmp_path) == ""
    assert arrived(embedded_kafka) == ["hello"]


def test_the_fixtures_and_the_commands(tmp_path: Path) -> None:
    """pytest's plug-in does not break the test runs of those who have the package installed; the commands load."""
    program = """
        import otel_kafka_exporter.testing.fixtures
        from otel_kafka_exporter.testing import EmbeddedKafka
        from otel_kafka_exporter.cli import main

        sys.argv = ["otel-kafka", "--help"]
        try:
            main()
        except SystemExit as ended:
            assert not ended.code
    """
    run(program, outbox_dir=tmp_path)
