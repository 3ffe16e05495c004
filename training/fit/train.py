"""One training from labels to a sealed bundle: the order of its steps."""

from cataloger.model import new_bundle
from cataloger.training.fit.distributed import joined
from cataloger.training.fit.finish import TrainedModel, finish
from cataloger.training.fit.setup import Listener, SilentListener, prepare
from cataloger.training.fit.weight_interpolation import blend
from cataloger.training.options import TrainOptions
from cataloger.utils import keep_freed_memory


def train_model(options: TrainOptions, listener: Listener) -> TrainedModel | None:
    """Train, export and measure a bundle; an interrupted run resumes where it stopped.

    Of a distributed run only the first process exports and measures; the others return None. Raises TrainingError for
    labels or images that cannot be used and QualityGateError for a failed export.
    """
    with joined(options.device) as place:
        if place.device.type == "cpu":
            keep_freed_memory()
        listener = listener if place.is_first else SilentListener()
        job = prepare(options, place, listener)
        if not place.is_first:
            job.trainer.run()
            return None
        with new_bundle(options.output) as folder:
            start = {name: value.clone() for name, value in job.network.state_dict().items()}
            history = job.trainer.run().history
            if options.blend:
                blend(job.trainer, start, options.blend)
            return finish(job, folder, history)
