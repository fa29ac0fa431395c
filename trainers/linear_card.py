"""The model card of a linear guard, from what its manifest states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["model_card"]

_WHAT = {
    "word": "words, five-letter stems and pairs of neighbouring stems, weighted by inverse document frequency",
    "char": "runs of three to six characters, weighted by inverse document frequency",
    "nb": "words, five-letter stems and pairs of neighbouring stems, weighted by their naive Bayes ratio (NBSVM)",
}


def model_card(manifest: Mapping[str, Any]) -> str:
    """Markdown: what it is, what it was trained on, how well it did on rows held out, and what it cannot do."""
    data, weights, held_out = manifest["data"], manifest["weights"], manifest["metrics"]["held_out_folds"]
    exposure = manifest["exposure"]
    lexicon, heads = manifest["parameters"]["lexicon"], ", ".join(manifest["parameters"]["policy_heads"]) or "none"
    return f"""# embedded/{manifest["variant"]}: a linear guard

A logistic regression over hashed {_WHAT[manifest["variant"]]}.
It says how probable it is that a prompt is harmful, which words weighed how much, and which policy the text is closest to.
It reads words, not meaning: use it offline, in tests and as a baseline, not to protect anything.
`{weights["file"]}` ({weights["bytes"]:,} bytes) holds int8 weights by hash bucket, and no word of any training row.
`{exposure["file"]}` holds a 64-bit hash of each of the {exposure["prompts"]:,} prompts it has seen, by which a
run marks the samples that are among them.

## Training

    {manifest["command"]}

| source | harmful | unharmful | licence of the rows |
| --- | --- | --- | --- |
{_sources(data)}

{data["rows"]:,} rows in all. Left out: {_left_out(data["left_out"])}.
sha256 over the texts and labels used: `{data["rows_sha256"]}`.
Equal rows give equal bytes, in any order and with any number of threads, with the versions of numpy, scipy and scikit-learn
that `guardeval-model.yaml` names.

## How well it does

On rows held out ({manifest["trainer"]["folds"]} folds; near-duplicates share a fold): accuracy {held_out["accuracy"]:.3f},
F1 {held_out["f1"]:.3f}, AUROC {held_out["auroc"]:.3f}, calibration error {held_out["ece"]:.3f} (15 equal-mass bins).
Probabilities are calibrated on these rows (Platt, 1999); from 0.5 on a text is called harmful.

## Overlap with benchmarks

{_overlaps(manifest["overlap"])}

## Limits

- A response is judged by its own text alone, and every such verdict carries the note "untrained for this target". Refusals
  are not judged: asking for them is an error.
- Policies are weak. They come from a lexicon written for this project (version {lexicon["version"]}) and from heads learned on
  training rows that the lexicon marks; no benchmark's labels went into them. Heads: {heads}.
  Other policies are named only where the lexicon alone finds them strongly.
- Words can be avoided. Paraphrase, other languages and spellings pass it, and harmless texts about harmful things are flagged.
"""


def _sources(data: Mapping[str, Any]) -> str:
    rows = data["sources"].items()
    return "\n".join(f"| {name} | {n['harmful']:,} | {n['unharmful']:,} | {data['licences'][name]} |" for name, n in rows)


def _left_out(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} ({why})" for why, count in left_out.items()) or "none"


def _overlaps(overlaps: list[Mapping[str, Any]]) -> str:
    if not overlaps:
        return "No benchmark was named in training (`-T exclude=task=path`), so nothing is known about overlap."
    return "\n".join(
        f"- `{o['task']}`: no equal prompt; {o['rows_sharing_8_words']:,} of its {o['rows']:,} prompts share eight words in a "
        f"row with a training row."
        for o in overlaps
    )
