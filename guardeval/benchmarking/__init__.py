"""How fast guards are: latency, throughput, time to the first token, memory; each beside the accuracy it was measured with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guardeval.benchmarking.rounds import bench
    from guardeval.benchmarking.settings import BenchSettings

__all__ = ["BenchSettings", "bench"]


def __getattr__(name: str) -> Any:
    if name == "bench":  # imported when used: settings and tables need none of what asks models
        from guardeval.benchmarking.rounds import bench

        return bench
    if name == "BenchSettings":
        from guardeval.benchmarking.settings import BenchSettings

        return BenchSettings
    raise AttributeError(f"module 'guardeval.benchmarking' has no attribute {name!r}")
