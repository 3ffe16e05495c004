"""Memory that is freed stays with the process: all of it in training, photos' buffers in tagging."""

import subprocess
import sys

import pytest

# Page faults of allocating and filling 64 MiB for the twentieth time: each new page of a fresh mapping is one.
FAULTS = """
import resource, sys
import torch
from cataloger.utils.malloc import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit("no glibc")
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=False)
    if "no glibc" in done.stderr:
        pytest.skip("this C library is not glibc")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_step_uses_the_memory_of_the_one_before():
    assert faults("keep") < 0.2 * faults("plain")


# The buffers of a photo, several at a time, and one of a huge picture.
REUSED = """
import resource, sys
from cataloger.utils.malloc import reuse_buffers
if sys.argv[1] == "reuse" and not reuse_buffers():
    sys.exit("no glibc")
def faults(count, size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    buffers = [bytearray(size) for _ in range(count)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for count, size in ((8, 900_000), (1, 64_000_000)):
    print([faults(count, size) for _ in range(20)][-1])
"""


def test_buffers_of_a_photo_are_used_again_and_those_of_a_huge_one_go_back():
    def run(how):
        done = subprocess.run([sys.executable, "-c", REUSED, how], capture_output=True, text=True, check=False)
        if "no glibc" in done.stderr:
            pytest.skip("this C library is not glibc")
        return [int(line) for line in done.stdout.split()]

    (photo, huge), (photo_before, huge_before) = run("reuse"), run("plain")
    assert photo < 0.1 * photo_before
    assert huge > 0.9 * huge_before > 1000
