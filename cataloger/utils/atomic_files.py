"""Files that are complete or not there: written under another name, then put in place."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cataloger.errors import OutputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name to write a file under, which takes its place when it is complete. Raises OutputError."""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.absolute().parent)
        os.close(descriptor)
        try:
            yield Path(temporary)
            _publish(Path(temporary), path)
        finally:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; the results are in the database") from error


def _publish(temporary: Path, path: Path) -> None:
    """Make a file durable and give it its name and the usual permissions, which mkstemp withholds."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    mask = os.umask(0)
    os.umask(mask)
    temporary.chmod(0o666 & ~mask)
    temporary.replace(path)
