"""Where the processor time of a whole command went, for `--profile` and `cataloger bench`."""

import os
import time
from typing import Any

from cataloger.engine import JobReport
from cataloger.utils import available_cpus

HANDED_OVER = "handing images over"
REST = "starting and the rest"


def profile_of(report: JobReport) -> dict[str, Any]:
    """Return what a finished job of this process cost, as plain JSON values.

    cpu_seconds: stage -> processor seconds. Decoding is that of its processes, their start included; handing images
    over to them and back is apart; the rest is mostly the start of Python. idle_seconds: processor seconds that the
    machine had and the run did not use. cpu_ms_per_image: the same for one image, milliseconds. waited_seconds: stage
    -> what the run waited for.
    """
    spent = os.times()
    cpu = dict(report.run.watch.cpu)
    own, children = time.process_time(), spent.children_user + spent.children_system
    cpu[REST] = max(0.0, own - sum(cpu.values()))
    cpu[HANDED_OVER] = cpu.pop("decoding", 0.0)
    cpu["decoding"] = children
    processors, images = available_cpus(), report.run.attempted
    return {
        "processors": processors,
        "images": images,
        "total_seconds": round(report.seconds, 3),
        "waited_seconds": _rounded(report.run.watch.seconds, 3),
        "cpu_seconds": _rounded(cpu, 3),
        "cpu_ms_per_image": _rounded({stage: 1000 * value / images for stage, value in cpu.items()}, 3)
        if images
        else {},
        "idle_seconds": round(max(0.0, processors * report.seconds - sum(cpu.values())), 3),
        "models": report.models,
        "options": report.options.record,
    }


def _rounded(values: dict[str, float], digits: int) -> dict[str, float]:
    return {name: round(value, digits) for name, value in values.items()}
