"""A connection to a Ray cluster: one that is running, or one of this machine's own for as long as the run takes."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import secrets
import shutil
import signal
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from guardeval.errors import ConfigError, needs_extra

__all__ = ["connected"]

_KNOCK = 10.0  # seconds to wait for a cluster's address to answer at all
_OWN_STORE = 200 << 20  # bytes of shared memory of a cluster of our own: shards pass through it
_LONGEST = 40  # characters of a folder in which Ray's sockets fit: the system takes 107 for all of a socket's path
_PREFIX, _OWNER = "gdv", "owner.lock"  # of such a folder, and the file in it that its process keeps locked
_FRESH = 60.0  # seconds in which a folder may still be about to be locked
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_NUM_REDIS_GET_RETRIES": "2",  # of 40 seconds each, to reach a cluster: by default it tries for a quarter of an hour
}

_log = logging.getLogger("guardeval")


@contextlib.contextmanager
def connected(address: str | None, cpus: float, gpus: float) -> Iterator[Any]:
    """The ``ray`` module, connected; what was connected before stays so.

    ``address``: ``local`` for a cluster of our own with at least so many ``cpus``, ``auto`` for the one that runs on this
    machine, ``HOST:PORT`` or ``ray://HOST:PORT``; None for ``$RAY_ADDRESS``, else ``local``.
    Raises :class:`ConfigError` where no cluster answers.
    """
    with _set(_QUIET):
        with needs_extra("ray"):
            import ray
        if ray.is_initialized():
            yield ray
            return
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        cluster = _own_cluster(ray, cpus, gpus) if address == "local" else _running_cluster(ray, address)
        with _own_end() as take_back, cluster:
            take_back()
            try:
                with _hushed(ray):
                    yield ray
            finally:
                ray.shutdown()


@contextlib.contextmanager
def _set(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that Ray and its processes read when they start; what the user has set stands."""
    ours = {k: v for k, v in variables.items() if k not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for key in ours:
            os.environ.pop(key, None)


@contextlib.contextmanager
def _own_end() -> Iterator[Callable[[], object]]:
    """Connecting sets a handler of Ray's for SIGTERM, which prints a dump and exits with 1; what is given here takes it back.

    SIGTERM then interrupts as Ctrl-C does, or does what this program has set for it. Afterwards all is as it was.
    """
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield lambda: None
        return
    meanwhile = signal.default_int_handler if before is signal.SIG_DFL else before
    try:
        yield functools.partial(signal.signal, signal.SIGTERM, meanwhile)
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _hushed(ray: Any) -> Iterator[None]:
    """Ray prints what its machines report to our standard output, whatever ``log_to_driver`` says: it goes to the log."""
    worker = ray._private.worker
    printed = getattr(worker, "print_to_stdstream", None)
    if printed is None:  # another version of Ray, which may print
        yield
        return
    worker.print_to_stdstream = lambda data, **_: _log.debug("ray: %s", " ".join(map(str, data.get("lines", ()))))
    try:
        yield
    finally:
        worker.print_to_stdstream = printed


@contextlib.contextmanager
def _own_cluster(ray: Any, cpus: float, gpus: float) -> Iterator[None]:
    """On this machine, for this process alone; its files are gone with it, those of a process that was killed with the next."""
    parent = Path(tempfile.gettempdir() if len(tempfile.gettempdir()) <= _LONGEST - 12 else "/tmp")  # noqa: S108
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    owned = _hold(folder / _OWNER)
    try:
        with _set({"RAY_AUTH_TOKEN": _token()} if not os.environ.get("RAY_AUTH_TOKEN_PATH") else {}):
            _start(ray, cpus, folder)
            _check_gpus(ray, gpus)
            yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        owned.close()


def _sweep(parent: Path) -> None:
    """Remove this user's folders of clusters whose process is gone: nobody holds their lock any more."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, or being removed by somebody else
            about = folder.lstat()
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and time.time() - about.st_mtime > _FRESH:
                (folder / _OWNER).stat()
                _hold(folder / _OWNER).close()
                shutil.rmtree(folder, ignore_errors=True)


def _hold(file: Path) -> IO[bytes]:
    """A file that this process has locked for as long as it is open. Raises :class:`OSError` where another has."""
    import fcntl

    held = file.open("wb")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        raise
    return held


@functools.cache
def _token() -> str:
    """What tells this process's workers from strangers; Ray would keep one in the home directory for ever."""
    return secrets.token_hex(32)


def _start(ray: Any, cpus: float, folder: Path) -> None:
    try:
        ray.init(
            address="local",
            num_cpus=max(os.cpu_count() or 1, math.ceil(cpus)),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_OWN_STORE,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
        )
    except Exception as e:  # a node that is not up in time is a plain Exception of Ray's
        ray.shutdown()
        said = " ".join(str(e).split())
        raise ConfigError(f"--executor ray: no cluster could be started on this machine: {said[:500]}") from e


def _check_gpus(ray: Any, wanted: float) -> None:
    """Raise :class:`ConfigError` where this machine has fewer: unlike CPUs they cannot be promised twice."""
    has = ray.cluster_resources().get("GPU", 0.0)
    if wanted > has:
        ray.shutdown()
        raise ConfigError(
            f"--executor ray: the workers want {wanted:g} GPUs together, and Ray finds {has:g} on this machine; ask for less "
            "(-E workers=, gpus_per_worker=), or name a cluster that has them (-E address=)"
        )


@contextlib.contextmanager
def _running_cluster(ray: Any, address: str) -> Iterator[None]:
    _knock(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, ImportError, OSError) as e:
        said = " ".join(str(e).split())
        raise ConfigError(
            f"-E address={address}: no connection to a Ray cluster: {said[:300]}. `ray status` says whether one runs; from a "
            "machine that is no part of it use ray://HOST:10001 (pip install 'ray[client]'); -E address=local needs none"
        ) from e
    yield


def _knock(address: str) -> None:
    """Raise :class:`ConfigError` where nobody listens: Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        if address == "auto" or address.startswith("ray://"):
            return
        raise ConfigError(f"-E address={address}: auto, local, HOST:PORT or ray://HOST:PORT is wanted")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _KNOCK) as line:
            knows = os.environ.get("RAY_USE_TLS", "0") not in ("", "0") or _speaks_grpc(line)
    except (OSError, OverflowError) as e:
        raise ConfigError(f"-E address={address}: nobody listens there ({e}); `ray start --head` says the address") from e
    if not knows:
        raise ConfigError(f"-E address={address}: what listens there is no Ray cluster; `ray start --head` says the address")


def _speaks_grpc(line: socket.socket) -> bool:
    """Whether the other side answers HTTP/2's first words with a frame of settings, as every gRPC server does at once."""
    settings = b"\x04"  # the kind of a frame, after three bytes of its length
    line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + settings + bytes(5))
    answer = b""
    while len(answer) < 4 and (more := line.recv(4 - len(answer))):
        answer += more
    return answer[3:] == settings
