"""llama.cpp's server in a process of its own: ``python -m guardeval.plugins.llama_cpp_server``, started by ``llama_cpp``.

Settings come as a JSON line on standard input, the key among them, so that it stands in no list of processes. Says where
it listens, as a JSON line, and ends when its standard input closes: it never outlives who started it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["main", "serve"]


def serve(settings: Mapping[str, Any]) -> Any:
    """The server, listening on loopback."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["key"]]
    params.n_parallel = settings["parallel"]
    params.n_ctx = settings["context"] * settings["parallel"]  # shared out among those asked at once
    params.n_gpu_layers = settings["gpu_layers"]
    params.warmup = False
    params.ctx_shift = False  # what does not fit is refused, never cut
    params.ui = False
    params.prefill_assistant = False  # a last turn of the assistant is there to be judged, unless asked otherwise
    params.endpoint_slots = False
    if settings.get("threads"):
        params.cpuparams.n_threads = settings["threads"]
        params.cpuparams_batch.n_threads = settings["threads"]
    return xllamacpp.Server(params)


def main() -> None:
    said = sys.stdout  # llama.cpp writes its log to descriptor 2
    server = serve(json.loads(sys.stdin.readline()))
    print(json.dumps({"ready": server.listening_address}), file=said, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
