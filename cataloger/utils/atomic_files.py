"""Files and folders that are replaced whole or not at all: written under another name, then put in place."""

import ctypes
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cataloger.errors import OutputError

# Of Linux's fcntl.h and fs.h.
AT_FDCWD = -100
RENAME_EXCHANGE = 2

LONGEST_PREFIX = 40
"""Characters of a name that its temporary name repeats: file systems allow 255 bytes."""


@contextmanager
def replacing(
    path: Path, *, failure: type[OutputError] = OutputError, advice: str = "", suffix: str | None = None
) -> Iterator[Path]:
    """Give a name to write a file under, which takes its place when it is complete.

    suffix: of that name; None: that of the file.

    A link stays one, and the file that it leads to is replaced; mode and owner of a file that is there are kept. A
    device or a pipe cannot be replaced and is written to. Raises `failure` with `advice` at the end of its message,
    and the file is as it was before.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not (target.is_file() or target.is_dir()):
            yield target
            return
        descriptor, name = tempfile.mkstemp(
            path.suffix if suffix is None else suffix, f".{path.stem[:LONGEST_PREFIX]}-", target.parent
        )
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            _publish(temporary, target)
        finally:
            with suppress(OSError):
                temporary.unlink()
    except OSError as error:
        raise failure(f"{path} cannot be written: {error.strerror or error}{advice}") from error


def put_folder(made: Path, target: Path) -> None:
    """Give a complete folder its name; one of that name that is there is deleted afterwards. Raises OSError.

    They change places in one step where the system can do that. Elsewhere, a process that is killed between two steps
    leaves the old one beside its name.
    """
    target = Path(os.path.realpath(target))
    if not target.exists():
        made.rename(target)
        return
    keep_mode(made, target)
    if not _exchange(made, target):
        old = made.with_name(f"{made.name}-old")
        target.rename(old)
        try:
            made.rename(target)
        except OSError:
            old.rename(target)
            raise
        old.rename(made)


def keep_mode(made: Path, known: Path) -> None:
    """Give what is made the mode of what it replaces, and its owner and group as far as this user may."""
    state = known.stat()
    if hasattr(os, "chown"):
        for owner in (state.st_uid, -1):
            with suppress(OSError):
                os.chown(made, owner, state.st_gid)
                break
    made.chmod(stat.S_IMODE(state.st_mode))


def _publish(temporary: Path, target: Path) -> None:
    """Make a file durable and give it its name, and the usual permissions, which mkstemp withholds."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    if target.is_file():
        keep_mode(temporary, target)
    else:
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
    temporary.replace(target)


def _exchange(first: Path, second: Path) -> bool:
    """Let two paths change places; return whether the system could."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False  # not Linux
    return bool(rename(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0)
