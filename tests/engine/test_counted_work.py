"""What one more image costs a whole `cataloger tag`, in things that can be counted: speed guarded without a clock.

Two runs of different length are counted in all their processes, and their difference is divided by the images that
one has more, so that what a start costs does not count.
"""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from patience import HANGS
from PIL import Image

SIZE = 224
MESSAGE, ANSWER = 8, len("[300, 400], ")
TOGETHER, READ_TOGETHER = 4, 8
BATCH = 20
FEW, MANY = 3 * BATCH, 6 * BATCH
MORE = MANY - FEW
WRITES = MORE // BATCH

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Work:
    """Amounts by who and what, of the images that one run had more. encoded: bytes of their files."""

    amounts: Counter[tuple[str, str]]
    encoded: int

    def an_image(self, who, what):
        return self.amounts[who, what] / MORE


def tag(folder, images):
    """Tag so many images in a process of its own; return what was counted."""
    log, pictures = folder / "log", folder / "pictures"
    pictures.mkdir(parents=True)
    for number in range(images):
        picture = Image.new("RGB", (300, 400), (0, 100, 50))
        # Each is another one: the same picture would be decoded and classified once.
        picture.paste((255, 200, 0), (number, number, number + 60, number + 60))
        picture.save(pictures / f"{number:03}.jpg")
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1] / "counting"),
        "COUNTED_LOG": str(log),
        "COUNTED_IMAGES": str(pictures) + "/",
        "COUNTED_WRITE_EVERY": str(BATCH),
    }
    options = ("--batch-size", str(BATCH), "--db", f"sqlite:///{folder}/x.db", "--workers", "2", "--quiet")
    command = [sys.executable, "-m", "cataloger", "tag", str(pictures), *options]
    subprocess.run(command, env=environment, check=True, timeout=HANGS)
    amounts = Counter()
    for who, what, amount in map(str.split, log.read_text().splitlines()):
        amounts[who, what] += int(amount)
    return amounts, sum(path.stat().st_size for path in pictures.iterdir())


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("counted")
    (few, few_bytes), (many, many_bytes) = (tag(folder / str(images), images) for images in (FEW, MANY))
    many.subtract(few)
    return Work(many, many_bytes - few_bytes)


def test_an_image_is_opened_once_by_the_command_and_never_by_a_decoder(work):
    assert work.an_image("command", "opens") == 1
    assert work.an_image("decoder", "opens") == 0


def test_an_image_is_decoded_once(work):
    assert work.an_image("decoder", "decodes") == 1


def test_an_image_is_classified_once(work):
    assert work.an_image("command", "classified") == 1


def test_the_file_goes_to_a_decoder_once_and_its_pixels_come_back_once(work):
    assert work.amounts["command", "put"] == work.amounts["decoder", "taken"] == work.encoded
    assert work.an_image("decoder", "put") == work.an_image("command", "taken") == 3 * SIZE**2


def test_messages_to_and_from_a_decoder_fit_any_socket(work):
    assert work.an_image("command", "sent") == work.an_image("decoder", "received") == MESSAGE
    assert work.an_image("decoder", "sent") == work.an_image("command", "received") == ANSWER


def test_a_few_images_go_to_a_decoder_together(work):
    """Each message interrupts somebody. A group may be cut short where results are taken slowly."""
    for who in ("command", "decoder"):
        assert 1 / TOGETHER <= work.an_image(who, "messages") <= 1.5 / TOGETHER


def test_files_are_read_a_few_at_a_time(work):
    """A task is read by another thread, which costs both a change of threads. A batch is a task, too."""
    assert work.an_image("command", "tasks") <= 1 / READ_TOGETHER + 1 / BATCH + 0.05


def test_pixels_are_copied_once_to_make_a_batch(work):
    """By numpy's functions that copy whole arrays; `array.copy()` and slices are out of its sight."""
    assert work.an_image("command", "pixels") == 3 * SIZE**2


def test_results_are_recorded_by_the_batch(work):
    assert work.amounts["command", "commits"] == WRITES
    assert work.amounts["command", "transactions"] == WRITES
    assert work.amounts["command", "statements"] <= 12 * WRITES
