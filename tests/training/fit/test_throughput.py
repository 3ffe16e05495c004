"""Tests of the measured throughput of training."""

import time

import pytest
import torch

from cataloger.training.fit.throughput import Throughput


def test_waiting_for_images_is_told_apart_from_training_on_them():
    throughput = Throughput()
    waited, trained = [], []

    def pause(taken):
        begun = time.monotonic()
        time.sleep(0.02)
        taken.append(time.monotonic() - begun)

    def slow():
        for _ in range(3):
            pause(waited)
            yield torch.zeros(4, 1), torch.zeros(4)

    for _ in throughput.over(slow()):
        pause(trained)
    assert throughput.images == 12
    record = throughput.record()
    assert sum(waited) <= record["waiting"] * throughput.seconds <= throughput.seconds - sum(trained)
    assert record["images_per_second"] == pytest.approx(12 / throughput.seconds)


def test_nothing_done_has_no_pace():
    assert Throughput().record() == {"images_per_second": 0.0, "waiting": 0.0}
