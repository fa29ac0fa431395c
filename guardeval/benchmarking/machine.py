"""The machine as far as figures depend on it; never its name."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["machine", "machine_line"]


def machine() -> dict[str, Any]:
    """Processor, cores, memory, load, graphics card and threads, each where it is known. Imports nothing to find out."""
    found: dict[str, Any] = {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
    }
    with contextlib.suppress(OSError, AttributeError):
        found["load_before"] = round(os.getloadavg()[0], 2)
    return {k: v for k, v in found.items() if v is not None} | _torch()


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> float | None:
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return None


def _torch() -> dict[str, Any]:
    """What torch says, once a model has loaded it."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    found: dict[str, Any] = {"torch": str(torch.__version__), "torch_threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name(0)
    return found


def machine_line(found: Mapping[str, Any]) -> str:
    """``Intel Xeon, 2 cores, 24 GiB, no GPU in use, OMP_NUM_THREADS=1``."""
    parts = [
        f"{found['cpu']}, {found['cores']} cores",
        *([f"{found['memory_gib']:g} GiB"] if "memory_gib" in found else []),
        found.get("gpu", "no GPU in use"),
        *([f"torch {found['torch']} with {found['torch_threads']} threads"] if "torch" in found else []),
        *([f"OMP_NUM_THREADS={found['omp_num_threads']}"] if "omp_num_threads" in found else []),
        *([f"load {found['load_before']:g} at the start"] if "load_before" in found else []),
    ]
    return ", ".join(parts)
