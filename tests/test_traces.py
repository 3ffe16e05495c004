"""Spans of OpenTelemetry: where a host has loaded it, and without anything that is secret."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SPANS = """
import json, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
import cataloger

try:
    with trace.get_tracer("shop").start_as_current_span("night"):
        cataloger.tag(sys.argv[1], db=sys.argv[2])
except cataloger.CatalogerError as error:
    print(type(error).__name__, file=sys.stderr)
found = spans.get_finished_spans()
names = {each.context.span_id: each.name for each in found}
print(json.dumps([
    [each.name, names.get(each.parent and each.parent.span_id), each.status.status_code.name, dict(each.attributes)]
    for each in found
]))
print([each.to_json() for each in found if each.name != "night"], file=sys.stderr)
"""


def spans_of(photos, db):
    """Tag in a host of its own; return span -> (span above it, status, attributes), and all that ours hold."""
    command = [sys.executable, "-c", SPANS, str(photos), db]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ)
    found = json.loads(result.stdout.splitlines()[-1])
    return {name: rest for name, *rest in found}, result.stderr


def test_a_run_is_below_the_span_of_its_host(tmp_path):
    found, _ = spans_of("examples/images", f"sqlite:///{tmp_path}/catalog.db")
    above = {name: rest[0] for name, rest in found.items()}
    assert above == {
        "night": None,
        "cataloger tag": "night",
        "source": "cataloger tag",
        "tag images": "source",
        "presence": "source",
    }
    assert {rest[1] for rest in found.values()} == {"UNSET"}
    attributes = found["cataloger tag"][2]
    assert attributes["cataloger.run_id"] == 1
    assert (attributes["cataloger.done"], attributes["cataloger.failed"], attributes["cataloger.skipped"]) == (
        20,
        0,
        0,
    )
    assert found["source"][2]["cataloger.source"] == str(ROOT / "examples" / "images")


def test_an_error_has_its_name_and_nothing_secret(tmp_path):
    """A folder without images, whose name is a secret here, as a driver's text may be."""
    folder = tmp_path / "s3cret-name"
    folder.mkdir()
    found, printed = spans_of(folder, f"sqlite:///{tmp_path}/catalog.db")
    for name in ("tag images", "source", "cataloger tag"):
        above, status, attributes = found[name]
        assert (status, attributes["error.type"]) == ("ERROR", "SourceError")
        assert name == "source" or "s3cret" not in json.dumps(attributes), above
    assert "no image found" not in printed


@pytest.mark.parametrize("loaded", [False, True])
def test_it_is_never_loaded_by_us(tmp_path, loaded):
    code = (
        f"import sys{', opentelemetry.trace' if loaded else ''}, cataloger\n"
        f"cataloger.tag('examples/images', db='sqlite:///{tmp_path}/catalog.db')\n"
        "print(sorted(name for name in sys.modules if name.startswith('opentelemetry.sdk')), "
        "'opentelemetry' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout == f"[] {loaded}\n"
