"""How much each member's vote should count, learnt from finished runs; what it was learnt from is written down beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.errors import ConfigError, DataError

if TYPE_CHECKING:
    from guardeval.judged import Judgements

__all__ = ["FITTED_ON", "VoteWeights", "fit_weights", "read_weights"]

FITTED_ON = "weights of the vote were fitted on"
_KIND = "vote weights"
_METHOD = "log odds of accuracy (Nitzan & Paroush 1982), half a sample added to right and to wrong, 0 at the least"


@dataclass(frozen=True, slots=True)
class VoteWeights:
    """Weights by member (0 or more, in nats), with what they were fitted on.

    ``right``: by member, samples judged right and samples with a verdict. ``samples``: ids; ``prompts``: numbers that equal
    prompts share, which tell a sample of the fit from others whatever its id.
    """

    weights: Mapping[str, float]
    right: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    task: str = ""
    samples: tuple[str, ...] = ()
    prompts: frozenset[int] = frozenset()

    def check(self, members: Sequence[str]) -> None:
        """Raises :class:`ConfigError` for a member without a weight."""
        unknown = [m for m in members if m not in self.weights]
        if unknown:
            raise ConfigError(
                f"ensemble: the weights hold none for {', '.join(map(repr, unknown))}; they were fitted for "
                f"{', '.join(map(repr, self.weights))}: fit them on runs of the same members with "
                "`guardeval combine RUN … --fit FILE`"
            )

    def seen(self, judged: Judgements) -> int:
        """How many samples have a prompt that the weights were fitted on."""
        import numpy as np

        return int(np.isin(judged.cluster, np.fromiter(self.prompts, np.int64, len(self.prompts))).sum())

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; :func:`read_weights` gives it back."""
        return {
            "kind": _KIND,
            "method": _METHOD,
            "task": self.task,
            "weights": dict(self.weights),
            "right": {m: {"right": r, "heard": n} for m, (r, n) in self.right.items()},
            "samples": list(self.samples),
            "prompts": sorted(self.prompts),
        }


def fit_weights(members: Mapping[str, Judgements], rows: Sequence[int], task: str = "") -> VoteWeights:
    """The best weights for members that err independently: ln(right / wrong). Nitzan & Paroush (1982).

    ``members``: judged samples of one task, the same ones in the same order; ``rows``: positions to learn from. A missing
    verdict is neither right nor wrong; a member that is wrong as often as right weighs nothing.
    Raises :class:`DataError` where no labelled sample is among ``rows``.
    """
    import numpy as np

    first = next(iter(members.values()))
    at = np.asarray(rows, np.int64)
    at = at[first.gold[at] >= 0]
    if not len(at):
        raise DataError("no labelled sample to fit weights on")
    right: dict[str, tuple[int, int]] = {}
    for name, judged in members.items():
        heard = judged.label[at] >= 0
        right[name] = (int((judged.label[at] == judged.gold[at])[heard].sum()), int(heard.sum()))
    weights = {name: max(0.0, math.log((r + 0.5) / (n - r + 0.5))) for name, (r, n) in right.items()}
    ids = tuple(first.ids[i] for i in at.tolist())
    return VoteWeights(weights, right, task, ids, frozenset(first.cluster[at].tolist()))


def read_weights(path: Path) -> VoteWeights:
    """Raises :class:`ConfigError` that names the file and what is wrong with it."""
    try:
        found = json.loads(path.expanduser().read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"ensemble: weights={path}: no such file; `guardeval combine RUN … --fit FILE` writes one") from None
    except (OSError, ValueError) as e:
        raise ConfigError(f"ensemble: weights={path}: cannot be read: {e}") from e
    try:
        if found["kind"] != _KIND:
            raise ValueError(f"kind is {found['kind']!r}")
        weights = {str(m): float(w) for m, w in found["weights"].items()}
        if not weights or not all(math.isfinite(w) and w >= 0 for w in weights.values()):
            raise ValueError("a weight is a number from 0 up")
        right = {str(m): (int(r["right"]), int(r["heard"])) for m, r in found["right"].items()}
        samples, prompts = tuple(map(str, found["samples"])), frozenset(map(int, found["prompts"]))
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise ConfigError(
            f"ensemble: weights={path}: is no file that `guardeval combine --fit` wrote ({type(e).__name__}: {e})"
        ) from e
    return VoteWeights(weights, right, str(found.get("task", "")), samples, prompts)
