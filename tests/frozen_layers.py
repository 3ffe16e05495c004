"""Exports of frozen layers that trainings share: to make one takes most of a small training."""

import fcntl
import hashlib
import shutil


def shared(write, folder):
    """Return what does as `write`, which exports frozen layers, and does so once for the same layers and folder."""

    def write_or_copy(network, path, *, size):
        known = folder / f"{digest(network, size)}.onnx"
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # others export the same
            if not known.exists():
                write(network, path, size=size)
                shutil.copyfile(path, known)
        shutil.copyfile(known, path)

    return write_or_copy


def digest(network, size):
    """Return a hash of the weights of all layers that no training changes."""
    frozen = {name.rpartition(".")[0] for name, values in network.named_parameters() if not values.requires_grad}
    found = hashlib.sha256(str(size).encode())
    for name, values in network.state_dict().items():
        if name.rpartition(".")[0] in frozen:
            found.update(name.encode() + values.cpu().numpy().tobytes())
    return found.hexdigest()
