"""The longest time of a run: it ends as after Ctrl-C, and goes on from there."""

import json
import shutil

from cron_rig import run_as_cron
from log_lines import MAIN

SLOW = f"""
import time
from cataloger.utils import failpoints
failpoints.set_action("after_decode", lambda: time.sleep(0.5))
{MAIN}
"""


def test_the_time_of_a_run_ends_it_as_ctrl_c_does(shop):
    for number in range(40):
        shutil.copy("photos/flip-flops.png", f"photos/{number}.png")
    flags = ("photos", "--db", "env:SHOP_DB", "--batch-size", "1", "--json")
    status, out, err = run_as_cron("tag", *flags, "--timeout", "4", code=SLOW)
    report = json.loads(out)
    assert (status, report["exit_status"], report["timed_out"], report["interrupted"]) == (3, 3, True, True)
    assert report["done"] < 43
    assert "--timeout: 4 seconds are over" in err
    assert "the time of --timeout was over" in err
    status, out, _ = run_as_cron("tag", *flags, "--timeout", "3600")
    rest = json.loads(out)
    assert (status, rest["timed_out"], rest["done"] + report["done"]) == (0, False, 43)
