"""The file of metrics, as the reader of Prometheus understands it."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cataloger.signals import FAMILIES, RunSummary, metrics_text
from cataloger.signals.metrics import write_metrics
from cataloger.utils import replacing

ODD = 'a\\b "c" {d}=,\nnext \udcff é'
OUTPUT = {
    "done": 7,
    "failed": 2,
    "skipped": 1,
    "failures": {"io.missing": 2},
    "decisions": {"accept": 4, "review": 3},
    "outages": [{}, {}],
    "write_back": {"written": {"a": 2, "b": 3}},
    "catalog": [
        {
            "source": ODD,
            "images": 9,
            "failed": 1,
            "decisions": {"accept": 5, "review": 3, "abstain": 0},
            "corrected": 1,
            "review_queue": 3,
            "accepted_share": 0.6,
        }
    ],
}


def summary(status, output=OUTPUT, ended=2000.25, name=None):
    job = {"name": name, "command": "tag", "exit_status": status, "seconds": 1.5, "output": output}
    return RunSummary("tag", status, None, 1990.0, ended, [job])


def read(text):
    found = {}
    for family in text_string_to_metric_families(text):
        assert (family.type, family.documentation) == ("gauge", FAMILIES[family.name])
        for sample in family.samples:
            labels = {name: text for name, text in sample.labels.items() if name not in ("command", "job")}
            assert sample.labels["command"] == "tag"
            found[sample.name.removeprefix("cataloger_"), *labels.values()] = sample.value
    return found


def test_every_figure_of_a_run_has_its_sample():
    source = 'a\\b "c" {d}=,\nnext \\udcff é'
    assert read(metrics_text(summary(0))) == {
        ("last_run_timestamp_seconds",): 2000.25,
        ("last_success_timestamp_seconds",): 2000.25,
        ("last_run_duration_seconds",): 1.5,
        ("last_run_exit_status",): 0,
        ("last_run_images", "done"): 7,
        ("last_run_images", "failed"): 2,
        ("last_run_images", "skipped"): 1,
        ("last_run_failed_images", "io.missing"): 2,
        ("last_run_decided_images", "accept"): 4,
        ("last_run_decided_images", "review"): 3,
        ("last_run_outages",): 2,
        ("last_run_written_values",): 5,
        ("source_images", source, "ok"): 9,
        ("source_images", source, "failed"): 1,
        ("source_decided_images", "accept", source): 5,
        ("source_decided_images", "review", source): 3,
        ("source_decided_images", "abstain", source): 0,
        ("source_corrected_images", source): 1,
        ("review_queue_images", source): 3,
        ("accepted_ratio", source): 0.6,
    }


@pytest.mark.parametrize("output", [None, {}, {"failures": [1]}, {"done": "many", "decisions": None}])
def test_a_run_without_figures_has_its_end_alone(output):
    found = read(metrics_text(summary(1, output)))
    assert found == {
        ("last_run_timestamp_seconds",): 2000.25,
        ("last_run_duration_seconds",): 1.5,
        ("last_run_exit_status",): 1,
    }


def test_the_last_success_stays_while_runs_fail(tmp_path):
    path = tmp_path / "m.prom"
    path.write_text("no metrics {\n")
    path.chmod(0o644)
    for status, ended in ((0, 1.0), (1, 2.0), (3, 3.0)):
        write_metrics(path, summary(status, ended=ended))
    found = read(path.read_text())
    assert (found["last_success_timestamp_seconds",], found["last_run_timestamp_seconds",]) == (1.0, 3.0)
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in tmp_path.iterdir()] == ["m.prom"]
    with replacing(path, suffix=".part") as temporary:
        assert temporary.suffix == ".part", "a collector takes every file that ends with .prom"
