"""How long tests wait for what must come: so long that only what never comes takes it, on the busiest machine."""

import time

HANGS = 600.0
"""Seconds after which something is taken to hang. No result may depend on them."""


def wait_until(condition, what="it", pause=0.02):
    """Wait until a condition holds; what: for the message when it never does."""
    deadline = time.monotonic() + HANGS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come to pass"
        time.sleep(pause)
