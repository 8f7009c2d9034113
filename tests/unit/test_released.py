"""What earlier versions have written into topics is read as it was written.

A file here is never changed: a release that writes another form adds a folder of its own. That the proto itself stays
compatible is `make check`'s business, by `buf breaking`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otel_kafka_exporter import OnexEnvelopeV1, __version__, decode
from otel_kafka_exporter.records.encoding import encode_json
from otel_kafka_exporter.records.protobuf_encoding import encode_protobuf

RELEASED = Path(__file__).parents[1] / "released"
FILES = sorted(path for path in RELEASED.glob("*/*") if path.suffix in {".binpb", ".framed"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_released_form_is_read(path: Path) -> None:
    """Protobuf, bare and framed, gives the envelope that the same version wrote as JSON, and so does that."""
    document = path.with_suffix(".json").read_bytes()
    envelope = OnexEnvelopeV1(**json.loads(document))
    assert decode(path.read_bytes()) == envelope
    assert decode(document) == envelope


@pytest.mark.parametrize("category", ["application", "audit", "security"])
def test_what_is_written_now_is_the_released_form(category: str) -> None:
    """A change of what is written needs a folder of its own, so that the next version reads this one's."""
    newest = RELEASED / __version__
    envelope = decode((newest / f"{category}.json").read_bytes())
    assert encode_json(envelope) == (newest / f"{category}.json").read_bytes()
    # The order of a map's entries is free.
    assert len(encode_protobuf(envelope)) == len((newest / f"{category}.binpb").read_bytes())
