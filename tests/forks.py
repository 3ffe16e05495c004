"""Programs that begin where the imports of `cataloger` end, as `fork` leaves them: tests start hundreds of them.

`python -c CODE` spends half a second of a processor on imports before it does anything. Here one process for each
process of pytest does these imports, waits, and forks for every program; what then runs, gets signals, dies and is
waited for is a process like any other: with an environment, streams and a session of its own, and our child.

    program = start(CODE, "argument", env={...}, start_new_session=True)
    status, out, err = run(CODE, "argument")

Whatever is about the start of a program itself needs a real one.
"""

import atexit
import ctypes
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from cataloger.utils import keep_numpy_to_one_thread

keep_numpy_to_one_thread()  # in pytest as well, which imports this before anything imports numpy

PR_SET_CHILD_SUBREAPER = 36
MARK = "KILL_STORM_MARK"
"""Variable that marks the processes of a test. Others see the environment with which a program was started, and so
the mark is written there: all marks are 32 characters long."""
NO_MARK = "0" * 32
PRELOADED = (
    *(
        "cataloger.cli.app",
        "cataloger.cli.commands.sync",
        "cataloger.cli.commands.tag",
        "cataloger.imaging.decode_pool",
    ),
    *("cataloger.fetch.prefetch", "cataloger.history.prune", "cataloger.history.undo", "cataloger.ledger.runs"),
    *("cataloger.schema.revisions", "cataloger.sinks.database", "cataloger.sinks.files", "cataloger.sources.table"),
    *("alembic.command", "httpx", "httpcore", "numpy", "PIL.Image", "psycopg", "pymysql", "sqlalchemy"),
)
"""Not onnxruntime, which starts a thread when it is imported: a fork has none of the threads of its parent."""


@dataclass
class Program:
    """A started program, as `subprocess.Popen` would have it."""

    pid: int
    stdin: object = None
    stdout: object = None
    stderr: object = None
    returncode: int | None = field(default=None, init=False)

    def poll(self):
        """Return the exit status, minus the number of the signal that has ended it; None while it runs."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=None):
        """Wait for the end at most so many seconds; return the exit status."""
        if self.poll() is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                ended, _, _ = select.select([descriptor], [], [], timeout)
            finally:
                os.close(descriptor)
            if not ended:
                raise subprocess.TimeoutExpired(f"program {self.pid}", timeout)
        return self.poll()

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self, told=None, timeout=None):
        """Write to its stdin, read its stdout and stderr to their ends, wait for its end; return what was read."""
        texts = {}

        def read(name):
            texts[name] = getattr(self, name).read()

        readers = [threading.Thread(target=read, args=(name,), daemon=True) for name in ("stdout", "stderr")]
        for reader in readers:
            reader.start()
        with suppress(BrokenPipeError, ValueError):  # it has ended; it was closed before
            self.stdin.write(told or "")
            self.stdin.close()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        return texts["stdout"], texts["stderr"]

    def close(self):
        for pipe in (self.stdin, self.stdout, self.stderr):
            with suppress(BrokenPipeError):
                pipe.close()


class Nursery:
    """The process that has done the imports, and forks."""

    def __init__(self):
        self.lock = threading.Lock()
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            environment = os.environ | {MARK: NO_MARK}
            # What its forks have as streams are pipes, too, which differ from files.
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, text=True, **pipes)
        atexit.register(self.stop)

    def stop(self):
        self.connection.close()
        self.process.communicate()

    def fork(self, request, descriptors):
        """Have a program started as our own child, with these as its descriptors 0, 1, 2 and so on; return its id."""
        # So long, for the request may be larger than a packet.
        body = os.memfd_create("request")
        try:
            os.write(body, json.dumps(request).encode())
            with self.lock, adoption():
                socket.send_fds(self.connection, [b"."], [body, *descriptors])
                return int(self.connection.recv(100))
        except OSError as error:
            raise RuntimeError(self.process.communicate()[1]) from error
        finally:
            os.close(body)


@contextmanager
def adoption():
    """Within the block, a process below this one whose own parent ends becomes our child."""
    adopt_orphans(1)
    try:
        yield
    finally:
        adopt_orphans(0)


def adopt_orphans(value):
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


nurseries = []


def nursery():
    """Return that of this process."""
    if not nurseries:
        nurseries.append(Nursery())
    return nurseries[0]


def start(code, *arguments, env=None, cwd=None, start_new_session=False):
    """Start `python -c CODE ARGUMENTS`; its three streams are pipes of text."""
    environment = dict(os.environ if env is None else env)
    request = {"code": code, "arguments": list(map(str, arguments)), "environment": environment}
    request |= {"cwd": str(cwd or Path.cwd()), "session": start_new_session}
    (stdin, ours), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
    theirs = stdin, stdout, stderr
    try:
        pid = nursery().fork(request, theirs)
    finally:
        for pipe in theirs:
            os.close(pipe)
    return Program(pid, open(ours, "w"), open(out), open(err))


DECODER = """
import os, sys
from cataloger.imaging.decode_worker import main
os.setpgid(0, 0)
del sys.path[0]
main(3, 4, 5, sys.argv[1])
"""


def start_decoder(inherited, config):
    """Start a decoding process, as `cataloger.imaging.decode_pool` does."""
    request = {"code": DECODER, "arguments": [config], "environment": dict(os.environ)}
    request |= {"cwd": str(Path.cwd()), "session": False}
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        return Program(nursery().fork(request, (nothing, nothing, 2, *inherited)))
    finally:
        os.close(nothing)


def run(code, *arguments, timeout=None, **options):
    """Run it to its end; return its exit status, stdout and stderr."""
    program = start(code, *arguments, **options)
    try:
        out, err = program.communicate(timeout=timeout)
        return program.returncode, out, err
    finally:
        program.kill()
        program.wait()
        program.close()


# What the process does that has done the imports


def serve(connection):
    """Fork for each request; return, in the fork, what it is to run."""
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    place = libc.getenv(MARK.encode())
    keep_numpy_to_one_thread()
    for name in PRELOADED:
        importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "a fork has none of the threads of its parent"
    gc.collect()
    gc.freeze()
    while True:
        told, descriptors, _, _ = socket.recv_fds(connection, 1, 10)
        if not told:
            os._exit(0)
        born, tell = os.pipe()
        if not (middle := os.fork()):
            # Its own end makes its child an orphan, whom the process that asks adopts.
            middle = os.getpid()
            if pid := os.fork():
                os.write(tell, str(pid).encode())
                os._exit(0)
            while os.getppid() == middle:
                os.sched_yield()
            request = json.loads(os.pread(descriptors[0], 100_000_000, 0))
            for descriptor in (connection.detach(), born, tell, descriptors[0]):
                os.close(descriptor)
            return become(request, descriptors[1:], place)
        os.waitpid(middle, 0)
        connection.send(os.read(born, 100))
        for descriptor in (*descriptors, born, tell):
            os.close(descriptor)


def become(request, descriptors, place):
    """Be the program that was asked for; return its code."""
    aside = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    for number, descriptor in enumerate(aside):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if request["session"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    ctypes.memmove(place, os.environ.get(MARK, NO_MARK).encode(), len(NO_MARK))
    sys.argv[:] = ["-c", *request["arguments"]]
    sys.path[0] = ""
    return request["code"]


if __name__ == "__main__":
    code = serve(socket.socket(fileno=int(sys.argv[1])))
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__builtins__ = __builtins__
    exec(compile(code, "<string>", "exec"), main.__dict__)
