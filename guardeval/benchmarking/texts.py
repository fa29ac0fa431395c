"""The texts that are asked: samples as they are, numbered, or lengthened with neutral sentences of our own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

from guardeval.data import Sample, Target

__all__ = ["FILLER", "distinct", "lengthened", "numbered", "of_length"]

FILLER = (
    "The library opens at nine and closes at six.",
    "A path leads from the station to the old bridge.",
    "In spring the garden behind the school is full of tulips.",
    "The baker puts the loaves on the shelf by the window.",
    "Two boats lie in the harbour, one blue and one white.",
    "On the table stand a lamp, a cup and a bowl of apples.",
    "The train to the coast takes about three hours.",
    "Every Thursday the choir meets in the small hall.",
    "Clouds moved over the hills, and later the sun came out.",
    "The museum shows maps, clocks and painted chests.",
    "Her brother repairs bicycles in a shed near the river.",
    "The recipe asks for flour, butter, milk and a pinch of salt.",
)  # written for this project


def lengthened(text: str, characters: int, start: int = 0) -> str:
    """Exactly so many characters: the text, cut where it is longer, then filler from sentence number ``start`` on."""
    parts, length, i = [text], len(text), start
    while length < characters:
        sentence = (" " if length else "") + FILLER[i % len(FILLER)]
        parts.append(sentence)
        length += len(sentence)
        i += 1
    return "".join(parts)[:characters]


def of_length(sample: Sample, target: Target, characters: int, start: int) -> Sample:
    """The sample with its judged text (the prompt, or the response) of that many characters."""
    if target is Target.PROMPT or sample.response is None:
        return replace(sample, prompt=lengthened(sample.prompt, characters, start))
    return replace(sample, response=lengthened(sample.response, characters, start))


def numbered(sample: Sample, number: int) -> Sample:
    """The sample with a number before its prompt, so that nobody has answered it before: servers keep caches, too."""
    return replace(sample, prompt=f"No. {number}: {sample.prompt}")


def distinct(samples: Iterable[Sample], n: int) -> Sequence[Sample]:
    """The first ``n`` that differ in their texts: equal questions under way at once would be asked once."""
    seen: dict[tuple[str, str | None], Sample] = {}
    for sample in samples:
        seen.setdefault((sample.prompt, sample.response), sample)
    return list(islice(seen.values(), n))
