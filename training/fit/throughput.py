"""Images per second of a training, and the share of its time that it waits for images."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from cataloger.training.inputs import Targets


@dataclass(slots=True)
class Throughput:
    """Counts images and seconds; during `waited` seconds the next batch was not ready."""

    images: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def over(self, batches: Iterable[tuple[Tensor, Targets]]) -> Iterator[tuple[Tensor, Targets]]:
        """Yield the batches and count them; a batch is done when the next one is asked for."""
        asked = time.monotonic()
        for batch in batches:
            given = time.monotonic()
            yield batch
            done = time.monotonic()
            self.images += len(batch[0])
            self.waited += given - asked
            self.seconds += done - asked
            asked = done

    def record(self) -> dict[str, float]:
        """Return images_per_second, and waiting: the share of the time that went into it."""
        if self.seconds <= 0.0:
            return {"images_per_second": 0.0, "waiting": 0.0}
        return {"images_per_second": self.images / self.seconds, "waiting": self.waited / self.seconds}
