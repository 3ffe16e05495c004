"""Counts the work of a whole `cataloger tag`, in the command and in its decoding processes.

Python imports this module by itself at its start where PYTHONPATH names its folder. Every event becomes a line of the
file COUNTED_LOG: who (command or decoder), what, how much. Nothing of cataloger is replaced, only what it stands on;
the memory that it shares with its decoders is watched at its own two functions.
"""

import os
import sys

LOG = os.open(os.environ["COUNTED_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
IMAGES = os.environ["COUNTED_IMAGES"]
WHO = "decoder" if "cataloger.imaging.decode_worker" in sys.orig_argv else "command"


def note(what, amount=1):
    os.write(LOG, f"{WHO} {what} {amount}\n".encode())


def before(owner, name, count):
    """Have `count` told the arguments of each call of a function, before it does what it does."""
    original = getattr(owner, name)

    def counted(*arguments, **options):
        count(*arguments, **options)
        return original(*arguments, **options)

    setattr(owner, name, counted)


def after(owner, name, count):
    """Have `count` told what each call of a function returns."""
    original = getattr(owner, name)

    def counted(*arguments, **options):
        result = original(*arguments, **options)
        count(result)
        return result

    setattr(owner, name, counted)


def watch_files():
    def audit(event, arguments):
        if event == "open" and isinstance(arguments[0], str | bytes) and os.fsdecode(arguments[0]).startswith(IMAGES):
            note("opens")

    sys.addaudithook(audit)


def watch_handover():
    from multiprocessing.connection import Connection

    from cataloger.imaging.shared_memory import SharedMemory

    after(SharedMemory, "put", lambda size: note("put", size))
    after(SharedMemory, "take", lambda data: note("taken", len(data)))
    before(Connection, "send_bytes", lambda _pipe, data: [note("sent", len(data)), note("messages")])
    after(Connection, "recv_bytes", lambda data: note("received", len(data)))


def watch_threads():
    from concurrent.futures import ThreadPoolExecutor

    before(ThreadPoolExecutor, "submit", lambda *_, **__: note("tasks"))


def watch_decoders():
    from PIL import Image

    before(Image, "_getdecoder", lambda *_: note("decodes"))


def watch_arrays():
    import numpy as np

    for name in ("stack", "concatenate", "ascontiguousarray", "copy"):
        after(np, name, lambda made: note("pixels", made.nbytes) if made.dtype == np.uint8 else None)


def watch_model():
    from onnxruntime import InferenceSession

    before(InferenceSession, "run", lambda _session, _names, inputs: note("classified", len(inputs["images"])))


def watch_databases():
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    event.listen(Engine, "before_cursor_execute", lambda *_: note("statements"))
    event.listen(Engine, "begin", lambda _: note("transactions"))
    event.listen(Engine, "commit", lambda _: note("commits"))


def leave_the_clock_out():
    """Write after so many results, never because time has passed, so that the number of writes is known.

    Nor is the lease renewed meanwhile, nor does a slow machine send fewer images together.
    """
    from cataloger.engine import pipeline
    from cataloger.imaging import decode_pool
    from cataloger.ledger import leases

    decode_pool.FILLING_SECONDS = float("inf")
    leases.HEARTBEAT_SECONDS = 1e6
    pipeline.WRITE_EVERY_RESULTS = int(os.environ["COUNTED_WRITE_EVERY"])
    pipeline.WRITE_EVERY_SECONDS = float("inf")


watch_files()
watch_handover()
if WHO == "decoder":
    watch_decoders()
else:
    watch_arrays()
    watch_threads()
    watch_model()
    watch_databases()
    leave_the_clock_out()
