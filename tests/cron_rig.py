"""What runs of the night have around them: cron's environment."""

import os
from pathlib import Path

import forks
from log_lines import MAIN
from patience import HANGS

ROOT = Path(__file__).parents[1]


def run_as_cron(*arguments, code=MAIN, **env):
    """Run the command line as cron does: no HOME, no terminal, no language, nothing of ours but what is given."""
    cron = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "SHOP_DB": "sqlite:///catalog.db", "CATALOGER_WORKERS": "1"}
    cron |= {name: os.environ[name] for name in ("KILL_STORM_MARK", "PYTHONDONTWRITEBYTECODE") if name in os.environ}
    return forks.run(code, *arguments, env=cron | env, timeout=HANGS)
