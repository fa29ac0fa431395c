"""A small Ray cluster of several nodes on this machine; no process and no file of it outlives its tests."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

STORE = 100 << 20  # bytes of shared memory a node
# how soon a node that is gone is missed; one that is only slow has ten seconds to answer
HEALTH = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 3}

# models that a worker imports by name: what they do to their process they do there alone
PLUGIN = '''
import os, time
from dataclasses import dataclass

from guardeval.contracts import Completion, Traits
from guardeval.errors import ModelUnusable


@dataclass(frozen=True)
class Deadly:
    """Takes its process with it where a prompt says so."""

    word: str = "die"
    driver: int = 0

    traits = Traits(batch=1)

    @property
    def identity(self):
        return {"deadly": self.word}

    def generate_batch(self, requests):
        if any(self.word in r.case.sample.prompt for r in requests):
            assert os.getpid() != self.driver
            os._exit(7)
        return [Completion("Decision: harmful\\nPolicies: none") for _ in requests]


@dataclass(frozen=True)
class Different(Deadly):
    """Another model on every machine, under one name."""

    @property
    def identity(self):
        return {"process": os.getpid()}


@dataclass(frozen=True)
class Broken(Deadly):
    def generate_batch(self, requests):
        raise ModelUnusable("the weights are spoilt")


@dataclass(frozen=True)
class Slow(Deadly):
    seconds: float = 0.2

    def generate_batch(self, requests):
        time.sleep(self.seconds)
        return super().generate_batch(requests)
'''


class Nodes:
    """Three nodes of two logical CPUs each; ``plugins`` is importable on all of them and here."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.plugins = folder, folder / "plugins"
        self.plugins.mkdir()
        (self.plugins / "ray_test_plugin.py").write_text(PLUGIN)
        from ray.cluster_utils import Cluster

        options = {"num_cpus": 2, "object_store_memory": STORE, "include_dashboard": False}
        head = {"temp_dir": str(folder / "ray"), "_system_config": HEALTH}
        self._cluster = Cluster(initialize_head=True, head_node_args={**options, **head})
        self._options = options
        self.pids: set[int] = set()
        for _ in range(2):
            self._cluster.add_node(**options)

    @property
    def address(self) -> str:
        return self._cluster.address

    def kill_one_that_works(self) -> str:
        """End a node other than the first, with a worker on it, as a power cut would; its id."""
        from ray._private.state import actors

        busy = {a["Address"]["NodeID"] for a in actors().values() if a["State"] == "ALIVE"}
        node = next(n for n in self._cluster.worker_nodes if n.node_id in busy)
        self._cluster.remove_node(node, allow_graceful=False)
        return node.node_id

    def add(self) -> None:
        self._cluster.add_node(**self._options)

    def close(self) -> None:
        import ray

        ray.shutdown()
        self._cluster.shutdown()


def processes_with(text: str) -> list[int]:
    """Of this machine, those whose command line or environment names a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                said = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if text.encode() in said:
                found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def nodes():
    pytest.importorskip("ray", reason="ray is not installed: pip install 'guardeval[ray]'")
    folder = Path(tempfile.mkdtemp(prefix="gdvt", dir="/tmp"))  # Ray's sockets take no long path
    before = dict(os.environ)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(folder), "HOME": str(folder)}
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder / "plugins"), os.environ.get("PYTHONPATH")]))
    sys.path.insert(0, str(folder / "plugins"))
    made = None
    try:
        made = Nodes(folder)
        yield made
    finally:
        if made is not None:
            made.close()
        for pid in processes_with(str(folder)):  # whatever went wrong, none of ours stays
            os.kill(pid, signal.SIGKILL)
        sys.path.remove(str(folder / "plugins"))
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)
