"""What this program asks of the system's processors."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, subprocess, sys
from cataloger.utils.cpu import work_in_batch
work_in_batch()
child = subprocess.run([sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"], stdout=subprocess.PIPE)
print(os.sched_getscheduler(0), int(child.stdout))
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has the policy")


def policies(*command):
    """The policy of a process that works in batch, and of its child. command: what starts it."""
    done = subprocess.run([*command, sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_work_in_batch_is_for_the_process_and_its_children():
    assert policies() == [os.SCHED_BATCH] * 2


def test_a_policy_that_somebody_has_chosen_stays():
    assert policies("chrt", "--idle", "0") == [os.SCHED_IDLE] * 2
