"""Reading an Inspect log: its own, one that a guardeval scorer ran in, or one that guardeval exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guardeval.contracts import Finish, Token, Turn
from guardeval.data import Judged, Usage
from guardeval.errors import DataError, needs_extra
from guardeval.interop.inspect_records import sample_of, usage_of_record, verdict_of
from guardeval.interop.inspect_samples import KEY, store_of
from guardeval.interop.log_shape import ours_of, run_of
from guardeval.interop.logged import Log, Logged, LoggedTask, clean
from guardeval.interop.recorded import Asked

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.model import ChatMessage, ModelOutput

__all__ = ["read_inspect"]

_FINISH = {"max_tokens": Finish.LENGTH, "model_length": Finish.LENGTH, "content_filter": Finish.FILTERED}
_AT_ONCE = 256  # samples read together: the archive's table of contents is read anew for each lot
_CANCELLED = ("CancelledError(", "Cancelled(")  # how Inspect marks samples that were under way when all was called off
_CUT = {"token", "context", "turn"}  # limits that end an answer


def read_inspect(path: Path) -> Log:
    """The log's head; its samples stream. Raises :class:`DataError` for a file that is no Inspect log."""
    with needs_extra("inspect"):
        from inspect_ai.log import read_eval_log
    if not path.is_file():
        raise DataError(f"{path}: is no file; name a .eval or .json log of Inspect")
    try:
        header = read_eval_log(str(path), header_only=True)
    except Exception as e:  # zip, JSON and pydantic errors, by whatever the file is
        raise DataError(f"{path}: is no Inspect log ({type(e).__name__}: {_first_line(e)})") from e
    spec = header.eval
    own = (spec.metadata or {}).get(KEY)
    place = f"{path}: metadata.{KEY}"
    origin, ours = run_of(own, place), ours_of(own, place)
    name = str((ours or {}).get("task") or spec.task.rpartition("/")[2])  # `guardeval/task` runs a task of any name
    task = LoggedTask(name, str(spec.task_version), lambda: _samples(path, origin is None), spec.dataset.samples)
    about = origin["record"]["record"] if origin else None
    return Log(
        tool="inspect",
        path=path,
        model=str(about["model"]["name"]) if about else spec.model,
        solver=str(about["solver"]["name"]) if about else _solver(header),
        started=str(header.stats.started_at or spec.created),
        ended=str(header.stats.completed_at or spec.created),
        tasks=(task,),
        files=(path,),
        status="complete" if header.status == "success" else "interrupted",
        remarks=_remarks(header),
        origin=origin,
        ours=ours,
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]


def _solver(header: EvalLog) -> str:
    return header.eval.solver or " + ".join(s.solver for s in header.plan.steps) or "generate"


def _remarks(header: EvalLog) -> tuple[str, ...]:
    out = [] if header.status == "success" else [f"the log's status is {header.status}: it holds what was done until then"]
    epochs = header.eval.config.epochs or 1
    return (*out, f"{epochs} epochs were logged; the first is read") if epochs > 1 else tuple(out)


def _samples(path: Path, foreign: bool) -> Iterator[Logged]:
    """Those that are in the log, whatever it says should be: a broken-off one holds fewer."""
    from inspect_ai.log import read_eval_log_sample_summaries, read_eval_log_samples_by_id

    place = "its table of samples"
    try:
        keys = [(s.id, s.epoch) for s in read_eval_log_sample_summaries(str(path)) if s.epoch == 1]
        for start in range(0, len(keys), _AT_ONCE):
            place = f"one of the samples {start + 1} to {min(start + _AT_ONCE, len(keys))}"
            for sample in read_eval_log_samples_by_id(str(path), keys[start : start + _AT_ONCE], resolve_attachments=True):
                yield _logged(sample, foreign)
    except Exception as e:  # a member of the archive that is missing, cut, or no sample
        raise DataError(f"{path}: {place} cannot be read ({type(e).__name__}: {_first_line(e)})") from e


def _logged(sample: EvalSample, foreign: bool) -> Logged:
    line = None if foreign else store_of(sample)  # of a run that was exported
    if line is not None:
        return Logged(str(sample.id), (), line=line)
    asked = _asked(sample)
    return Logged(
        id=clean(str(sample.id)),
        texts=_texts(sample, asked),
        asked=asked,
        tokens=_tokens(sample.output),
        usage=_usage(sample),
        error=None if sample.error is None else clean(sample.error.message),
        cancelled=sample.error is not None and sample.error.message.startswith(_CANCELLED),
        told=_told(sample),
    )


def _texts(sample: EvalSample, asked: Sequence[Asked]) -> tuple[str, ...]:
    """What may be judged: the input's turns, text columns of the row, the prompt that was sent."""
    turns = [sample.input] if isinstance(sample.input, str) else [_text(m) for m in sample.input]
    columns = [v for v in sample.metadata.values() if isinstance(v, str)]
    sent = [turn.content for turn in asked[-1].turns] if asked else []
    return tuple(dict.fromkeys(clean(t) for t in (*turns, *columns, *sent) if t))


def _text(message: ChatMessage) -> str:
    """The words of a message, without its reasoning."""
    content = message.content
    return content if isinstance(content, str) else "".join(c.text for c in content if c.type == "text")


def _thinking(message: ChatMessage) -> str | None:
    if isinstance(message.content, str):
        return None
    found = [(c.summary or "") if c.redacted else c.reasoning for c in message.content if c.type == "reasoning"]
    return clean("\n".join(found)) if found else None


def _asked(sample: EvalSample) -> tuple[Asked, ...]:
    """Every generated answer with the turns before it; ``output`` is the last, whatever the messages say."""
    cut = sample.limit is not None and sample.limit.type in _CUT
    out: list[Asked] = []
    before: list[Turn] = []
    for message in sample.messages:
        if message.role == "assistant" and message.source != "input":
            out.append(Asked(tuple(before), clean(_text(message)), _thinking(message), Finish.STOP, {}))
        before.append(Turn(message.role if message.role in ("system", "assistant") else "user", clean(_text(message))))
    if not sample.output.choices:
        return tuple(out)
    choice = sample.output.choices[0]
    finish = Finish.LENGTH if cut else _FINISH.get(choice.stop_reason, Finish.STOP)
    turns = out[-1].turns if out else tuple(before) or _input_turns(sample)
    last = Asked(turns, clean(_text(choice.message)), _thinking(choice.message), finish, {})
    return (*out[:-1], last)


def _input_turns(sample: EvalSample) -> tuple[Turn, ...]:
    if isinstance(sample.input, str):
        return (Turn("user", clean(sample.input)),)
    return tuple(Turn(m.role if m.role in ("system", "assistant") else "user", clean(_text(m))) for m in sample.input)


def _tokens(output: ModelOutput) -> tuple[Token, ...]:
    """Token probabilities, where they spell the answer out: else nobody knows which word they are of."""
    logprobs = output.choices[0].logprobs if output.choices else None
    if logprobs is None or "".join(t.token for t in logprobs.content) != _text(output.choices[0].message):
        return ()
    return tuple(Token(t.token, t.logprob, tuple((o.token, o.logprob) for o in t.top_logprobs or ())) for t in logprobs.content)


def _usage(sample: EvalSample) -> Usage:
    used = list(sample.model_usage.values()) or ([sample.output.usage] if sample.output.usage else [])
    costs = [u.total_cost for u in used]
    cached = [(u.input_tokens_cache_read or 0) + (u.input_tokens_cache_write or 0) for u in used]
    return Usage(
        requests=1,
        latency=sample.working_time if sample.working_time is not None else sample.output.time,
        tokens_in=sum(u.input_tokens for u in used) + sum(cached) if used else None,
        tokens_out=sum(u.output_tokens for u in used) if used else None,
        cost=sum(c for c in costs if c is not None) if costs and None not in costs else None,
    )


# ---- what guardeval left in a log of its task inside Inspect ----


def _told(sample: EvalSample) -> Judged | None:
    """Our sample, and the verdict that our solver or scorer left with it; None where the log is not of our task."""
    own = sample.metadata.get(KEY)
    if not isinstance(own, Mapping) or "sample" not in own:
        return None
    for kept in (sample.store.get(KEY), *((s.metadata or {}).get(KEY) for s in (sample.scores or {}).values())):
        if isinstance(kept, Mapping) and "verdict" in kept:
            return Judged(sample_of(own["sample"]), verdict_of(kept["verdict"]), usage_of_record(kept.get("usage")))
    return None
