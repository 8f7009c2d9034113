"""`otel-kafka doctor -- COMMAND`: what an application's logging really does, asked from inside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from otel_kafka_exporter import decode
from otel_kafka_exporter.testing import EmbeddedKafka
from tests.doctoring import Examined, examine
from tests.functional.pipelines import TOPIC
from tests.rig.process import HeldPort
from tests.waiting import until

INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))
OTEL = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_BLRP_SCHEDULE_DELAY": "50"}
WAITS = """
import logging, sys, threading
print("on stdout")
logging.getLogger("shop").error("hello")
threading.Event().wait(60)
"""
PROVIDER = """
from opentelemetry._logs import set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from otel_kafka_exporter import KafkaLogExporter, KafkaLogRecordProcessor
provider = LoggerProvider()
set_logger_provider(provider)
"""


def run(kafka: str, tmp_path: Path, program: str, *command: str, seconds: str = "1s", **variables: str) -> Examined:
    """Examine a program; by this Python unless a command is given, which the file's name follows."""
    file = tmp_path / "app.py"
    file.write_text(textwrap.dedent(program))
    words = [*(command or (sys.executable,)), str(file)]
    return examine(kafka, "--run-for", seconds, "--", *words, **{**OTEL, **variables})


def instrumented(kafka: str, tmp_path: Path, program: str, seconds: str = "1s", **variables: str) -> Examined:
    given = {"OTEL_LOGS_EXPORTER": "onex_kafka", **variables}
    return run(kafka, tmp_path, program, INSTRUMENT, sys.executable, seconds=seconds, **given)


def test_an_instrumented_application(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """All is well, and a test record of Python's logging is in the topic, beside the application's own."""
    found = instrumented(embedded_kafka.bootstrap_servers, tmp_path, WAITS)
    assert (found.code, found.ids("warn", "fail", "skipped")) == (0, []), found.document
    assert found.check("child.exporter")["text"] == "BatchLogRecordProcessor(EntryPointKafkaLogExporter)"
    assert found.check("child.handler")["text"].startswith("LoggingHandler")
    payloads = [decode(each.value() or b"").payload for each in embedded_kafka.messages(TOPIC)]
    assert sorted(each["logger"] for each in payloads) == ["otel_kafka_doctor", "shop"]


def test_the_direct_processor(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """The processor that counts is named, and the exporter that stays idle beside it does not count."""
    found = instrumented(embedded_kafka.bootstrap_servers, tmp_path, WAITS, OTEL_EXPORTER_KAFKA_DIRECT="true")
    assert found.code == 0, found.document
    assert "KafkaLogRecordProcessor" in found.check("child.exporter")["text"]
    assert found.status("child.record") == "ok"


def test_an_application_that_sets_it_up_itself(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Without opentelemetry-instrument it is seen as well, also at the end of a program that ends by itself."""
    program = f"""
        {textwrap.indent(PROVIDER, 8 * " ").strip()}
        import logging
        logging.getLogger().addHandler(LoggingHandler(logger_provider=provider))
        processor = KafkaLogRecordProcessor(bootstrap_servers={embedded_kafka.bootstrap_servers!r})
        provider.add_log_record_processor(processor)
        threading_wait = True
        import threading
        threading.Event().wait(60)
    """
    found = run(embedded_kafka.bootstrap_servers, tmp_path, program)
    assert (found.code, found.status("child.record")) == (0, "ok"), found.document
    found = run(embedded_kafka.bootstrap_servers, tmp_path, program.replace("wait(60)", "wait(0)"), seconds="30s")
    assert (found.code, found.status("child.exporter")) == (1, "ok")
    found.one_cause("child.record")


@pytest.mark.parametrize(
    ("program", "variables", "cause", "words"),
    [
        (WAITS, {"OTEL_LOGS_EXPORTER": "console"}, "child.exporter", "ConsoleLogRecordExporter"),
        (WAITS, {"OTEL_SDK_DISABLED": "true"}, "child.provider", "OTEL_SDK_DISABLED"),
        (
            "import logging; logging.disable(logging.CRITICAL)\n" + WAITS,
            {},
            "child.record",
            "did not come to the provider",
        ),
        (
            "import logging; logging.getLogger().handlers.clear()\n" + WAITS,
            {},
            "child.record",
            "did not come to the provider",
        ),
        (WAITS, {"OTEL_TRACES_EXPORTER": "otlp"}, "child.ran", "set-up has not come to its end"),
        ("import sys; sys.exit(7)", {}, "child.ran", "code 7"),
    ],
)
def test_what_is_wrong_inside(
    embedded_kafka: EmbeddedKafka, tmp_path: Path, program: str, variables: dict[str, str], cause: str, words: str
) -> None:
    """The one cause is named: another exporter, a disabled SDK, logging that leads nowhere, a program that fails."""
    seconds = "1s" if program.endswith(WAITS) else "30s"  # which ends by itself, however long its start takes
    found = instrumented(embedded_kafka.bootstrap_servers, tmp_path, program, seconds, **variables)
    found.one_cause(cause, words)


def test_kafka_is_away(tmp_path: Path) -> None:
    """A test record that waits in the outbox did not take the way to Kafka."""
    port = HeldPort()
    try:
        found = instrumented(port.address, tmp_path, WAITS)
    finally:
        port.close()
    found.one_cause("child.record", "outbox")


def test_a_program_without_opentelemetry(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """A Python program that never imports it, and one that is no Python, are told apart."""
    found = run(embedded_kafka.bootstrap_servers, tmp_path, "import threading; threading.Event().wait(60)")
    found.one_cause("child.provider", "not imported")
    found = examine(embedded_kafka.bootstrap_servers, "--run-for", "100ms", "--", "sleep", "60")
    found.one_cause("child.ran", "no Python of sleep has reported")


def test_two_ways_to_kafka_are_one_too_many(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """A handler or a processor that is there twice makes each record twice, and is a warning."""
    program = """
        import logging, threading
        from opentelemetry._logs import get_logger_provider
        from opentelemetry.instrumentation.logging.handler import LoggingHandler
        from otel_kafka_exporter import KafkaLogRecordProcessor
        logging.getLogger().addHandler(LoggingHandler(logger_provider=get_logger_provider()))
        get_logger_provider().add_log_record_processor(KafkaLogRecordProcessor())
        threading.Event().wait(60)
    """
    found = instrumented(embedded_kafka.bootstrap_servers, tmp_path, program)
    assert found.ids("warn") == ["child.exporter", "child.handler"]


def test_processes_that_are_not_alike(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """A worker that was started without OpenTelemetry's set-up is a warning; one that was forked has it."""
    program = """
        import os, subprocess, sys, threading
        if {fork}:
            pid = os.fork()
        else:
            path = os.pathsep.join(p for p in os.environ["PYTHONPATH"].split(os.pathsep) if "auto_instr" not in p)
            code = "import threading; threading.Event().wait(60)"
            subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ, PYTHONPATH=path))
        threading.Event().wait(60)
    """
    found = instrumented(embedded_kafka.bootstrap_servers, tmp_path, program.format(fork=False))
    assert found.ids("warn") == ["child.forks"], found.document
    found = instrumented(embedded_kafka.bootstrap_servers, tmp_path, program.format(fork=True))
    assert (found.ids("warn"), found.check("child.forks")["text"]) == ([], "all processes are alike")


def test_nothing_of_it_lives_on(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """A program that ignores SIGTERM, and what it has started, are gone at the end, and so are the files."""
    program = """
        import os, signal, subprocess, sys, threading
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.alarm(60); signal.pause()"])
        open(os.environ["PIDS"], "w").write(f"{os.getpid()} {child.pid} {os.environ['OTEL_KAFKA_DOCTOR_DIRECTORY']}")
        threading.Event().wait(60)
    """
    pids = tmp_path / "pids"
    found = run(embedded_kafka.bootstrap_servers, tmp_path, program, PIDS=str(pids))
    assert found.status("child.ran") == "ok"
    *processes, directory = pids.read_text().split()
    assert not Path(directory).exists()
    for pid in processes:
        state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False).stdout
        assert state.strip()[:1] in {"", "Z"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_end_before_its_time_ends_the_command_too(tmp_path: Path, number: int, code: int) -> None:
    """Ctrl-C, a service manager's SIGTERM, and a terminal that is closed leave nothing of the command behind."""
    pid = tmp_path / "pid"
    program = f"import os, threading; open({str(pid)!r}, 'w').write(str(os.getpid())); threading.Event().wait(60)"
    main = "import sys; from otel_kafka_exporter.cli import main; sys.exit(main())"
    words = ["doctor", "--run-for", "60s", "--", sys.executable, "-c", program]
    with subprocess.Popen([sys.executable, "-c", main, *words], stderr=subprocess.DEVNULL) as process:
        until(lambda: pid.exists() and pid.read_text())
        process.send_signal(number)
        assert process.wait(20) == code
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_second_ctrl_c_ends_a_command_that_ignores_the_first(tmp_path: Path) -> None:
    """Who does not wait for a command that ignores SIGTERM leaves nothing of it behind either."""
    pid = tmp_path / "pid"
    program = f"""if True:
        import os, signal, threading
        asked = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: open({str(tmp_path / "asked")!r}, "w").close())
        open({str(pid)!r}, "w").write(str(os.getpid()))
        while True:
            asked.wait(60)
    """
    command = str(Path(sys.executable).with_name("otel-kafka"))
    words = [command, "doctor", "--run-for", "60s", "--", sys.executable, "-c", program]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        until(lambda: pid.exists() and pid.read_text())
        process.send_signal(signal.SIGINT)
        until((tmp_path / "asked").exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_sitecustomize_of_its_own_still_runs(embedded_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """What the application's environment does at the start of Python is not taken away from it."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text("import os\nos.environ['OWN'] = 'yes'\n")
    program = "import os; os._exit(0 if os.environ.get('OWN') == 'yes' else 9)"
    path = os.pathsep.join([str(tmp_path / "own"), *filter(None, [os.environ.get("PYTHONPATH")])])
    found = run(embedded_kafka.bootstrap_servers, tmp_path, program, PYTHONPATH=path)
    found.one_cause("child.ran", "ended before it could be asked")
