"""Draws the picture of the README from a real run of `otel-kafka demo`.

Usage: python scripts/demo_picture.py docs/images/demo.svg
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 118


def main(path: str) -> None:
    """Write the picture."""
    demo = Path(sys.executable).with_name("otel-kafka")
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    done = subprocess.run([demo, "demo"], env=environment, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor", force_terminal=True)
    console.print(Text.from_ansi(part_for_a_picture(done.stdout)))
    # Without fonts of somebody's server: a reader's own do.
    picture = re.sub(
        r"@font-face \{.*?\}\n?", "", console.export_svg(title="otel-kafka demo", unique_id="demo"), flags=re.DOTALL
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(f"{line.rstrip()}\n" for line in picture.splitlines()), encoding="utf-8")


def part_for_a_picture(output: str) -> str:
    """The records as they arrive, and the count: neither paths of this machine nor records in full."""
    lines = output.splitlines()
    begin = next(at for at, line in enumerate(lines) if "time UTC" in line)
    end = next(at for at, line in enumerate(lines) if "record in full" in line)
    count = next(at for at, line in enumerate(lines) if "emitted  arrived" in line)
    return "\n".join([*lines[begin:end], *lines[count:]])


if __name__ == "__main__":
    main(sys.argv[1])
