"""A connection to a Ray cluster: a private one that is started here, or one that runs already.

Ray is imported nowhere else, and here only when it is used. What it does to the process that uses it is undone: it
replaces the handler of SIGTERM, prints to stdout, reports usage, and puts the current folder on the import path of
every worker, where a `json.py` or a folder `cataloger` among the pictures would take their place. It listens on the
network, and runs what anyone sends who reaches it: the private cluster listens on loopback alone, and asks for a
token.
"""

import importlib.util
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from typing import Any

from cataloger.errors import ClusterError, MissingExtraError
from cataloger.options import ClusterOptions
from cataloger.utils import available_cpus

CONNECT_SECONDS = 5.0
"""That a cluster has to accept a connection, and again to answer; Ray itself would wait for minutes."""
OBJECT_STORE_BYTES = 300_000_000
"""Of a private cluster: a bundle and some chunks."""
LOOPBACK = "127.0.0.1"
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""How a client of gRPC begins (RFC 9113, 3.4), with empty settings."""
SETTINGS = 4


def require_ray() -> None:
    """Raise MissingExtraError unless the extra is installed."""
    if importlib.util.find_spec("ray") is None:
        raise MissingExtraError("ray", "--engine ray")


@contextmanager
def connected(options: ClusterOptions) -> Iterator[None]:
    """Be connected to a cluster within the block. Raises ClusterError where that cannot be.

    One that this process is connected to already is used, and stays connected.
    """
    with _environment(is_private=options.address == "local"):
        import ray
    if ray.is_initialized():
        yield
        return
    if options.address != "local":
        _require_answer(_resolved(options.address))
    with _without_prints():
        _connect(options)
        try:
            yield
        finally:
            with redirect_stdout(sys.stderr), _kept_handlers():
                ray.shutdown()


def described() -> str:
    """Return what the cluster has and what of it is free, for people."""
    import ray

    nodes = sum(bool(node["Alive"]) for node in ray.nodes())
    all_of_it, free = ray.cluster_resources(), ray.available_resources()
    parts = (f"{free.get(name, 0):g} of {all_of_it.get(name, 0):g} {name}s free" for name in ("CPU", "GPU"))
    return f"ray {ray.__version__}, {nodes} machine{'s' * (nodes != 1)}, {', '.join(parts)}"


def _connect(options: ClusterOptions) -> None:
    import ray

    is_private = options.address == "local"
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    how: dict[str, Any] = {"address": options.address}
    if is_private:
        how |= {"num_cpus": available_cpus(), "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        how |= {"_node_ip_address": LOOPBACK}
    with _environment(is_private=is_private), redirect_stdout(sys.stderr), _kept_handlers():
        try:
            ray.init(
                job_config=_job_config(),
                configure_logging=False,
                logging_level=logging.CRITICAL,
                log_to_driver=False,
                namespace="cataloger",
                **how,
            )
        except Exception as error:
            with suppress(Exception):
                ray.shutdown()
            where = (
                "a private Ray cluster cannot be started" if is_private else f"no Ray cluster at {options.address}"
            )
            raise ClusterError(f"{where}: {_first_line(error)}") from error


def _job_config() -> Any:
    """Return a job whose workers look for modules where they are installed, and nowhere else."""
    from ray.job_config import JobConfig

    class Alone(JobConfig):  # type: ignore[misc]
        def _runtime_env_has_working_dir(self) -> bool:
            return True  # then neither the current folder nor that of the script is passed on

    return Alone()


@contextmanager
def _environment(*, is_private: bool) -> Iterator[None]:
    """Set what Ray and its processes read, and set it back."""
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    if is_private:
        wanted |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        wanted |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_TOKEN: list[str] = []


def _token() -> str:
    """Return the token of this process's private clusters; Ray reads it once."""
    if not _TOKEN:
        _TOKEN.append(secrets.token_hex(32))
    return _TOKEN[0]


@contextmanager
def _without_prints() -> Iterator[None]:
    """Keep off stdout, where reports go, what a thread of Ray prints of each worker that ends."""
    from ray._private import worker

    before = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before


@contextmanager
def _kept_handlers() -> Iterator[None]:
    """Put back what Ray does to signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _resolved(address: str) -> str:
    """Return HOST:PORT of a cluster. Raises ClusterError where this machine belongs to none."""
    if address != "auto":
        return address
    from ray._private.services import canonicalize_bootstrap_address

    try:
        found = canonicalize_bootstrap_address("auto")
    except Exception as error:
        raise ClusterError(f"--ray-address auto: {_first_line(error)}") from error
    if not found:
        raise ClusterError("--ray-address auto: no Ray cluster runs on this machine; start one with `ray start`")
    return str(found)


def _require_answer(address: str) -> None:
    """Raise ClusterError unless something that speaks gRPC answers there soon."""
    host, _, port = address.rpartition(":")
    try:
        with ExitStack() as stack:
            connection = socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS)
            stack.enter_context(connection)
            if os.environ.get("RAY_USE_TLS", "0") == "1":
                return
            connection.sendall(HTTP2_PREFACE)
            answer = connection.recv(9)
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise ClusterError(f"no Ray cluster at {address}: {reason}") from error
    if len(answer) < 4 or answer[3] != SETTINGS:
        raise ClusterError(f"no Ray cluster at {address}: what listens there is something else")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
