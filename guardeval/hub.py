"""Rows from the Hugging Face hub, at a pinned revision, through ``datasets`` with the user's own token.

Whatever goes wrong becomes one readable error: what happened, and the three ways on. Nothing else is read instead.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardeval.errors import DataError, needs_extra

if TYPE_CHECKING:
    from guardeval.task import Task

__all__ = ["HubError", "HubRows", "HubSet", "Pulled", "local_copies_only", "open_hub", "pull"]

_SHA = re.compile(r"[0-9a-f]{40}")
_BATCH = 512  # rows turned into Python values at a time
_CONNECT = "connect this machine to the hub (HTTPS_PROXY and HF_ENDPOINT are honoured; HF_HUB_OFFLINE must not be set)"


_CONNECTION = {"ConnectionError", "TimeoutException", "NetworkError", "OfflineModeIsEnabled", "LocalEntryNotFoundError"}


class HubError(DataError):
    """The hub did not give the rows; the message says why and what to do.

    ``unreachable``: it did not answer at all, and need not be asked for the next data set.
    """

    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class HubSet:
    """One split of one configuration of a data set, at a revision (a sha, a branch or a tag).

    ``one_of_several``: the task reads more splits of it, so each row says in a column ``source`` which it is of.
    """

    path: str
    name: str | None
    split: str
    revision: str = "main"
    one_of_several: bool = False

    def __str__(self) -> str:
        return f"{self.path}{f' ({self.name})' if self.name else ''}, split {self.split}"


@dataclass(frozen=True, slots=True)
class HubRows:
    """An opened split. ``sha`` is the commit that the rows are of; ``count`` the number of rows."""

    hub_set: HubSet
    sha: str
    count: int
    table: Any

    def __iter__(self) -> Iterator[dict[str, Any]]:
        named = {"source": self.hub_set.split.partition("[")[0]} if self.hub_set.one_of_several else {}
        for batch in self.table.with_format("arrow").iter(batch_size=_BATCH):
            for row in batch.to_pylist():
                yield named | row


_LOCAL: ContextVar[bool] = ContextVar("local copies only", default=False)


@contextmanager
def local_copies_only() -> Iterator[None]:
    """For a hub known not to answer: what is opened meanwhile comes from the local cache, without asking and waiting."""
    before = _LOCAL.set(True)
    try:
        yield
    finally:
        _LOCAL.reset(before)


def open_hub(wanted: HubSet, task: str) -> HubRows:
    """Download (or find in the local cache) one split. Raises :class:`HubError`."""
    with needs_extra("hub"):
        import datasets
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    sha = _resolve(wanted, task)
    try:
        with _told_to_stay_offline(datasets.config, sha is None):
            table = datasets.load_dataset(wanted.path, wanted.name, split=wanted.split, revision=sha or wanted.revision)
    except Exception as e:  # datasets raises anything from OSError to its own; each kind is told apart below
        raise _explain(e, wanted, task) from e
    found = _sha_of(table)
    expected = sha or (wanted.revision if _SHA.fullmatch(wanted.revision) else None)
    if expected is not None and found is not None and found != expected:
        what = f"the local copy of {wanted.path} has revision {found[:12]}, not {expected[:12]}"
        raise HubError(_message(f"the hub did not give it, and {what}", wanted, task, _CONNECT))
    return HubRows(wanted, found or expected or "unknown", len(table), table)


@contextmanager
def _told_to_stay_offline(config: Any, offline: bool) -> Iterator[None]:
    """For a hub that just did not answer: ``datasets`` then looks at its local copies without half a minute of retries."""
    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


def _resolve(wanted: HubSet, task: str) -> str | None:
    """The commit behind the revision; None when the hub cannot be reached, where a local copy may still serve."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if _LOCAL.get():
        return None
    try:
        return HfApi().dataset_info(wanted.path, revision=wanted.revision, timeout=30).sha
    except (OfflineModeIsEnabled, ConnectionError, TimeoutError):
        return None
    except HfHubHTTPError as e:
        raise _explain(e, wanted, task) from e
    except Exception as e:  # requests and httpx, by version, have their own connection errors, without a common base
        if _is_connection(e):
            return None
        raise _explain(e, wanted, task) from e


def _sha_of(table: Any) -> str | None:
    """The commit a split was made from: ``datasets`` notes it as ``hf://datasets/…@<sha>/<file>``, or names a folder so."""
    noted = [re.search(r"@([0-9a-f]{40})/", str(url)) for url in table.info.download_checksums or {}]
    folders = [_SHA.fullmatch(Path(f["filename"]).parent.name) for f in table.cache_files]
    return next((m[m.lastindex or 0] for m in (*noted, *folders) if m is not None), None)


# ---- what went wrong ----


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        e = todo.pop()
        if e is not None and id(e) not in seen:
            seen.add(id(e))
            yield e
            todo += [e.__context__, e.__cause__]


def _is_connection(error: BaseException) -> bool:
    """By name, since ``requests``, ``httpx`` and its successor each have their own, and only one of them is installed."""
    return any(isinstance(e, ConnectionError | TimeoutError) or _CONNECTION & _names(e) for e in _chain(error))


def _names(error: BaseException) -> set[str]:
    return {c.__name__ for c in type(error).__mro__}


def _status(error: BaseException) -> int | None:
    for e in _chain(error):
        status = getattr(getattr(e, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _explain(error: Exception, wanted: HubSet, task: str) -> HubError:
    names = set().union(*(_names(e) for e in _chain(error)))
    said = " ".join(str(e) for e in _chain(error))
    status = _status(error)
    if "GatedRepoError" in names or "gated dataset" in said:
        return _gated(wanted, task, denied=status == 403 or "ask for access" in said)
    if "RevisionNotFoundError" in names or re.search(r"Revision '.*' doesn't exist", said):
        return HubError(_message(f"{wanted.path} has no revision {wanted.revision!r} on the hub", wanted, task))
    if status in {401, 404} or names & {"RepositoryNotFoundError", "DatasetNotFoundError"}:
        what = f"the hub knows no data set {wanted.path!r}, or hides it from whoever is not logged in"
        return HubError(
            _message(what, wanted, task, f"check the name, or log in: `hf auth login`, or set HF_TOKEN ({_page(wanted)})")
        )
    if status == 403:
        return _gated(wanted, task, denied=True)
    if status is not None and status >= 500:
        return HubError(_message(f"the hub answered HTTP {status} for {wanted.path}", wanted, task, "try again later"))
    if _is_connection(error):
        found = HubError(_message(f"the hub cannot be reached, and no local copy of {wanted} is here", wanted, task, _CONNECT))
        found.unreachable = True
        return found
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "split" in said.lower() or "BuilderConfig" in said or "Config name" in said:
        return HubError(
            _message(f"{wanted.path} on the hub has no {wanted.name or 'default'} / {wanted.split}: {first}", wanted, task)
        )
    return HubError(_message(f"{wanted} could not be read from the hub: {type(error).__name__}: {first}", wanted, task))


def _gated(wanted: HubSet, task: str, denied: bool) -> HubError:
    if denied:
        what = f"{wanted.path} is gated, and your account has not accepted its terms (HTTP 403)"
        return HubError(_message(what, wanted, task, f"accept them at {_page(wanted)} with the account of your token"))
    what = f"{wanted.path} is gated, and you are not logged in to the hub (HTTP 401)"
    return HubError(_message(what, wanted, task, f"`hf auth login` (or set HF_TOKEN) and accept the terms at {_page(wanted)}"))


def _page(wanted: HubSet) -> str:
    return f"https://huggingface.co/datasets/{wanted.path}"


def _message(what: str, wanted: HubSet, task: str, way: str | None = None) -> str:
    first = way or f"look at {_page(wanted)} and correct the task file"
    return (
        f"{task}: {what}. Three ways on: {first}; `--data PATH` for a file of yours; "
        "`--data sample` for the rows that ship with guardeval (written for it, not the benchmark)"
    )


# ---- keeping a copy ----


@dataclass(frozen=True, slots=True)
class Pulled:
    """One file that ``data pull`` wrote."""

    path: Path
    rows: int
    source: str  # "allenai/wildguardmix@<sha>"

    def __str__(self) -> str:
        return f"{self.path}: {self.rows} rows of {self.source}"


def pull(task: Task, to: Path | str) -> tuple[Pulled, ...]:
    """Write the task's upstream rows under ``to`` as jsonl, one file a data set, ready for ``--data``.

    A file appears whole or not at all. Raises :class:`HubError`, and :class:`DataError` where ``to`` cannot be written.
    """
    import orjson

    folder = Path(to)
    out = []
    for name, wanted in task.hub_files():
        rows = open_hub(wanted, task.name)
        path = folder / name
        part = path.with_suffix(path.suffix + ".part")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as f:
                for row in rows:
                    f.write(orjson.dumps(row, default=str) + b"\n")
            part.replace(path)
        except OSError as e:
            part.unlink(missing_ok=True)
            raise DataError(f"{path}: cannot be written: {e.strerror or e}") from e
        out.append(Pulled(path, rows.count, f"{wanted.path}@{rows.sha}"))
    return tuple(out)
