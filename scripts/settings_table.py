"""Writes the settings table of a Markdown file from the settings module; a test holds the two together.

Usage: python scripts/settings_table.py README.md
"""

from __future__ import annotations

import sys
from pathlib import Path

from otel_kafka_exporter.settings.settings import FIELDS

BEGIN, END = "<!-- settings: written by `make readme` -->", "<!-- end of settings -->"


def table() -> str:
    """The settings as a Markdown table."""
    rows = [f"| `{name}` | {field.metadata['shown']} | {field.metadata['meaning']} |" for name, field in FIELDS.items()]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])


def with_table(text: str) -> str:
    """`text` with the table between its two marks as it has to be."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
