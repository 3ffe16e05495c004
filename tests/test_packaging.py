"""What runs in containers: the compose file, the objects of Kubernetes, and what goes into an image.

`packaging/check.sh` builds the image itself, the wheel and the rest that is released.
"""

import os
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]


def cataloger(arguments, url):
    command = [sys.executable, "-m", "cataloger", *arguments]
    environment = os.environ | {"CATALOGER_DB": url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)


def test_the_services_of_the_demo_do_what_they_say(services, postgresql_url):
    """Each waits for the one before it, and reads the photos where they are mounted."""
    order = ["doctor", "upgrade", "tag", "review"]
    for before, after in pairwise(order):
        assert services[after]["depends_on"][before]["condition"] == "service_completed_successfully"
    for name in order:
        assert services[name]["read_only"]
        assert services[name]["volumes"] == ["./examples/images:/photos:ro"]
        arguments = [each.replace("/photos", "examples/images") for each in services[name]["command"]]
        arguments += ["--help"] if name == "review" else []  # it would serve until somebody stops it
        result = cataloger(arguments, postgresql_url)
        assert result.returncode == 0, result.stderr
    assert "nothing to do: 20 unchanged" in cataloger(["tag", "examples/images"], postgresql_url).stdout


def test_the_nightly_job_is_one_of_kubernetes(tmp_path):
    page = (ROOT / "docs" / "how-to" / "nightly-sync.md").read_text(encoding="utf-8")
    job = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    kubernetes_validate.validate(job, "1.29", strict=True)
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert f"USER {pod['securityContext']['runAsUser']}:" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (tmp_path / "cataloger.toml").touch()
    for container in (*pod["initContainers"], *pod["containers"]):
        arguments = [each.replace("/etc/cataloger", str(tmp_path)) for each in container["args"]]
        result = cataloger([*arguments, "--help"], "sqlite:///:memory:")
        assert result.returncode == 0, result.stderr


def test_what_is_installed_is_what_goes_to_the_builder():
    """A folder of the package that .dockerignore leaves out would be missing in the image alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = set(project["tool"]["setuptools"]["package-dir"].values())
    files = {"pyproject.toml", "constraints.txt", project["project"]["readme"], *project["project"]["license-files"]}
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == folders | files | {"packaging/install.sh"}
    assert all((ROOT / name).exists() for name in kept)
