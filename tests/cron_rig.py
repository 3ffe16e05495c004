"""What runs of the night have around them: cron's environment, a reader of metrics."""

import os
from pathlib import Path

import forks
from log_lines import MAIN
from patience import HANGS
from prometheus_client.parser import text_string_to_metric_families

from cataloger.signals import FAMILIES

ROOT = Path(__file__).parents[1]


def run_as_cron(*arguments, code=MAIN, **env):
    """Run the command line as cron does: no HOME, no terminal, no language, nothing of ours but what is given."""
    cron = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "SHOP_DB": "sqlite:///catalog.db", "CATALOGER_WORKERS": "1"}
    cron |= {name: os.environ[name] for name in ("KILL_STORM_MARK", "PYTHONDONTWRITEBYTECODE") if name in os.environ}
    return forks.run(code, *arguments, env=cron | env, timeout=HANGS)


def metrics(name="m.prom"):
    """Return (name, labels) -> value of each sample as the reference parser reads it; all of it is documented."""
    text = Path(name).read_text()
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    families = list(text_string_to_metric_families(text))
    assert {each.type for each in families} == {"gauge"}
    for each in families:
        assert each.documentation == FAMILIES[each.name]
        assert f"| `{each.name}`" in page
    samples = [sample for each in families for sample in each.samples]
    found = {
        (sample.name.removeprefix("cataloger_"), frozenset(sample.labels.items())): sample.value for sample in samples
    }
    assert len(found) == len(samples)
    return found


def value(found, name, **labels):
    """Return the value of a sample; None without it."""
    return found.get((name, frozenset(labels.items())))
