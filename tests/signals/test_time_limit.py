"""The longest time of a run: it ends as after Ctrl-C, and goes on from there."""

import json

from cron_rig import run_as_cron
from log_lines import MAIN
from PIL import Image

SLOW = f"""
import time
from cataloger.utils import failpoints
failpoints.set_action("after_decode", lambda: time.sleep(0.03))
{MAIN}
"""


def test_the_time_of_a_run_ends_it_as_ctrl_c_does(shop):
    with Image.open("photos/flip-flops.png") as opened:
        picture = opened.convert("RGB").resize((32, 32))
    # More than are on their way at once, which a run ends with; and all differ, since one picture is classified once.
    for number in range(300):
        picture.putpixel((0, 0), (number % 256, number // 256, 0))
        picture.save(f"photos/{number}.png")
    flags = ("photos", "--db", "env:SHOP_DB", "--batch-size", "1", "--json")
    status, out, err = run_as_cron("tag", *flags, "--timeout", "2", code=SLOW)
    report = json.loads(out)
    assert (status, report["exit_status"], report["timed_out"], report["interrupted"]) == (3, 3, True, True)
    assert report["done"] < 303
    assert "--timeout: 2 seconds are over" in err
    assert "the time of --timeout was over" in err
    status, out, _ = run_as_cron("tag", *flags, "--timeout", "3600")
    rest = json.loads(out)
    assert (status, rest["timed_out"], rest["done"] + report["done"]) == (0, False, 303)
