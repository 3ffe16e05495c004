"""Every error that a user can do something about, as one tree, and the exit statuses of the command line.

    CatalogerError                 exit 1   the root; catch this one
    ├── UsageError                 exit 2   a flag, an argument or a combination of them is wrong
    │   ├── LabelMapError          exit 2   a label map lacks labels of the model
    │   ├── ConfigError            exit 2   cataloger.toml or an environment variable is wrong
    │   ├── MissingExtraError      exit 2   an optional dependency is not installed
    │   └── WrongSourceError       exit 2   flags describe a source that is not so; a SourceError, too
    ├── SourceError                exit 1   a folder, file or manifest cannot be read as a source
    ├── OutageError                exit 1   a host or the storage is out, and there was nothing else to do
    ├── ImageError                 exit 1   one image cannot be used; inside a run it becomes a `Failure`
    ├── BundleError                exit 1   a model bundle is missing, damaged or of an unknown format
    ├── DatabaseError              exit 1   the database cannot be reached or used
    │   ├── UnavailableError       exit 1   it cannot be used at the moment: connection lost, lock timeout, deadlock
    │   ├── ValueRefusedError      exit 1   it cannot hold a value, e.g. as its encoding has no such character
    │   ├── SchemaError            exit 1   its tables are missing, older or newer than this version
    │   └── LeaseError             exit 1   another run works on the same source, or took it over
    ├── ClusterError               exit 1   the cluster of --engine ray cannot be reached or used
    ├── EditedError                exit 1   people have changed what would be reverted
    ├── OutputError                exit 1   an output file cannot be written
    │   └── LostOutputError        exit 5   the same, of work that is done and recorded
    ├── TrainingError              exit 1   labels, images or a checkpoint cannot be trained on
    └── QualityGateError           exit 4   a model or a run fails a gate that it must pass

Each message says what failed, where, and what to do next. The command line prints it as one line.
Only lines to be copied into a file come below it.
"""

FAILURES_STATUS = 3
"""Exit status of work that is done, but with more failures than allowed; a report says which."""
INTERRUPTED_STATUS = 130
"""Exit status of work that was interrupted; the same command continues it."""


class CatalogerError(Exception):
    """Root of the tree. `exit_code` is the exit status of the command line.

    lines: below the message, to be copied into a file as they are.
    """

    exit_code = 1
    lines: tuple[str, ...] = ()


class UsageError(CatalogerError):
    """A flag, an argument or a combination of them is wrong."""

    exit_code = 2


class LabelMapError(UsageError):
    """A label map lacks labels of the model; `lines` are what is missing in it, without codes."""

    def __init__(self, message: str, lines: tuple[str, ...]) -> None:
        super().__init__(message)
        self.lines = lines


class ConfigError(UsageError):
    """A configuration file or an environment variable is wrong."""


class MissingExtraError(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the extra '{extra}', which is not installed. "
            f"Install it: pip install 'fashion-cataloger[{extra}]'"
        )


class SourceError(CatalogerError):
    """A folder, file or manifest cannot be read as a source."""


class WrongSourceError(UsageError, SourceError):
    """Flags describe a source that is not so, e.g. by a table, column or condition that it does not have."""


class OutageError(CatalogerError):
    """A host or the storage is out, and there was nothing else to go on with."""


class ImageError(CatalogerError):
    """One image cannot be used. `code` is the stable failure code, e.g. `decode.truncated`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @classmethod
    def too_many_bytes(cls, limit: int) -> "ImageError":
        """Make that of an image of more than `limit` encoded bytes."""
        return cls("decode.too_many_bytes", f"the image is larger than the {limit:,} bytes allowed")


class BundleError(CatalogerError):
    """A model bundle is missing, damaged or of an unknown format."""


class DatabaseError(CatalogerError):
    """The database cannot be reached or used."""


class UnavailableError(DatabaseError):
    """The database cannot be used at the moment; the very same transaction may succeed later."""


class ValueRefusedError(DatabaseError):
    """The database cannot hold a value, e.g. as its encoding has no such character; others it can."""


class SchemaError(DatabaseError):
    """The tables of cataloger are missing, older or newer than this version."""


class LeaseError(DatabaseError):
    """Another run works on the same source, or has taken it over."""


class ClusterError(CatalogerError):
    """The cluster of --engine ray cannot be reached, or has no worker that can be used."""


class EditedError(CatalogerError):
    """People have changed what would be reverted."""


class OutputError(CatalogerError):
    """An output file cannot be written."""


class LostOutputError(OutputError):
    """The work is done and recorded, but what should show it cannot be written: stdout, --output or --profile."""

    exit_code = 5


class TrainingError(CatalogerError):
    """Labels, images or a checkpoint cannot be trained on."""


class QualityGateError(CatalogerError):
    """A model, or a run that was checked, fails a gate that it must pass."""

    exit_code = 4
