"""The examples run as their first lines say."""

import os
import re
import runpy
import sqlite3
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.options import Shard

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def finetune(request):
    """The example, which trains in this process: most tests of training have done the imports and the export before.

    The tutorial of one's own categories runs the same training as a command.
    """
    pytest.importorskip("onnxscript", reason="the extra 'train' is not installed")
    request.getfixturevalue("one_export")
    main = runpy.run_path(str(EXAMPLES / "finetune" / "run.py"))["main"]
    start = main.__globals__["cataloger"]

    def cataloger(command, *arguments):
        if command != "train":
            return start(command, *arguments)
        result = CliRunner().invoke(app, [command, *map(str, arguments)])
        assert result.exit_code == 0, result.stderr

    main.__globals__["cataloger"] = cataloger
    return main


@pytest.mark.slow
def test_three_categories_of_ones_own(finetune, tmp_path, capfd):
    finetune(tmp_path)
    printed = capfd.readouterr().out
    assert "On the feet     24    6     6" in printed
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        rows = connection.execute("SELECT key, label_1, decision FROM cataloger_image_top5").fetchall()
    assert len(rows) == 18
    assert {label for _, label, _ in rows} <= {"On the head", "On the body", "On the feet"}
    # One of three would be chance.
    assert sum(key.startswith(f"{label}/") for key, label, _ in rows) >= 10
    assert {decision for _, _, decision in rows} <= {"accept", "review", "abstain"}


@pytest.mark.slow
def test_a_shop_is_adapted_by_sixty_labels_and_taken_back(tmp_path, capfd):
    runpy.run_path(str(EXAMPLES / "adapt" / "run.py"))["main"](tmp_path)
    printed = capfd.readouterr().out
    shown = re.findall(
        r"^(before|after|undone): (\d+) of 100 right; (\d+) accepted, (\d+) of these right$", printed, re.M
    )
    figures = {when: tuple(map(int, numbers)) for when, *numbers in shown}
    before, after = figures["before"], figures["after"]
    assert after[0] >= before[0] + 15  # of the 100 that nobody has labelled
    assert after[2] / after[1] > before[2] / before[1]
    assert figures["undone"] == before
    assert (tmp_path / "after.html").is_file()


def test_the_indexed_job_is_one_of_kubernetes_and_gives_each_pod_its_part():
    """Against the schema of Kubernetes itself; what the pod runs is a command of ours."""
    path = EXAMPLES / "kubernetes" / "indexed-job.yaml"
    job = yaml.safe_load(path.read_text(encoding="utf-8"))
    for version in ("1.29", "1.31"):  # the first that has limits for each index by default, and a later one
        kubernetes_validate.validate(job, version, strict=True)
    spec = job["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"] == ["sh", "-c"]
    (line,) = container["args"]
    numbers = []
    for index in range(spec["completions"]):
        text = line.replace("exec cataloger", "printf '%s\\n'")
        environment = {"JOB_COMPLETION_INDEX": str(index), "PATH": os.environ["PATH"]}
        words = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True, check=True)
        numbers.append(Shard.parse(words.stdout.split()[-1]))
    assert numbers == [Shard(index + 1, spec["completions"]) for index in range(spec["completions"])]
    page = (EXAMPLES.parent / "docs" / "how-to" / "shards.md").read_text(encoding="utf-8")
    assert yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0]) == job


def test_the_pods_of_the_ray_job_are_ones_of_kubernetes_and_its_page_shows_it():
    """Against the schemas of Kubernetes itself; that of a RayJob lies on the web. Page tests check the command."""
    text = (EXAMPLES / "kubernetes" / "ray-job.yaml").read_text(encoding="utf-8")
    policy, job = yaml.safe_load_all(text)
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        template = group["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {"name": "ray", **template["metadata"]}}
        kubernetes_validate.validate(pod, "1.31", strict=True)
        assert template["metadata"]["labels"] == policy["spec"]["podSelector"]["matchLabels"]
    kubernetes_validate.validate(policy, "1.31", strict=True)
    assert policy["spec"]["ingress"][0] == {"from": [{"podSelector": policy["spec"]["podSelector"]}]}
    assert cluster["authOptions"] == {"mode": "token"}
    with_password = [group for group in groups if "CATALOG_URL" in str(group)]
    assert with_password == [cluster["headGroupSpec"]]
    page = (EXAMPLES.parent / "docs" / "how-to" / "cluster.md").read_text(encoding="utf-8")
    assert page.partition("```yaml\n")[2].partition("```")[0] == text
    assert f"-- {job['spec']['entrypoint']}\n" in page
