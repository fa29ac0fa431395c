"""``guardeval review RUN``: a local page on which people go through samples one by one; ``--summary``, ``--export``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from guardeval.cli.parser import Parser, whole_number
from guardeval.errors import ConfigError, DataError

if TYPE_CHECKING:
    from guardeval.review.session import Session
    from guardeval.review.store import Store
    from guardeval.runs import StoredRun

__all__ = ["configure", "execute"]


def configure(parser: Parser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", help="a run folder")
    add("--n", "-n", metavar="N", help="draw so many samples, right and wrong verdicts by their shares (50)")
    add(
        "--samples",
        metavar="FILE",
        help="in place of drawing: rows with an `id` (guardeval mine, sample-errors), or ids by comma",
    )
    add("--skip_reviewed", action="store_true", help="of --samples, leave out rows that guardeval mine lists as reviewed")
    add("--seed", metavar="N", help="of the drawing (0)")
    add("--reviewer", metavar="NAME", help="whose marks these are (the name of the user)")
    add("--blind", action="store_true", help="hide gold label, verdict, votes and reasoning until the reviewer has a label")
    add("--task", metavar="T", help="which task of a run that holds several")
    add("--db", metavar="FILE", help="where reviews are kept (RUN/reviews.sqlite)")
    add("--port", metavar="N", help="of the page on 127.0.0.1 (any free one)")
    add("--open", action="store_true", help="open the page in the browser")
    add("--summary", action="store_true", help="no page: print what reviewers said and how far they agree")
    add("--export", metavar="FILE", help="no page: write the marks as JSONL, a line a sample and reviewer")


def execute(args: argparse.Namespace) -> int:
    from guardeval.runs import open_run

    run = open_run(args.run)
    if args.summary or args.export:
        return _finished(args, run)
    if (run.record.get("redact") or False) is True:
        raise DataError(f"{run.path}: is a redacted run, which holds no text to review; run it again without --redact")
    return _serve(args, run)


def _serve(args: argparse.Namespace, run: StoredRun) -> int:
    n = None if args.n is None else whole_number(args.n, "guardeval review: --n", 1)
    seed = None if args.seed is None else whole_number(args.seed, "guardeval review: --seed")
    port = 0 if args.port is None else whole_number(args.port, "guardeval review: --port", 1)
    reviewer = _reviewer(args.reviewer)
    from guardeval.review.selection import review_set, run_identity, task_of
    from guardeval.review.serving import ReviewServer, require_packages
    from guardeval.review.session import Session
    from guardeval.review.store import Store

    task = task_of(run, args.task)
    require_packages()  # before a database is made that nobody can fill
    store = Store(_database(args, run), run_identity(run), run.name)
    try:
        samples = review_set(store, task, n, seed, args.samples, args.skip_reviewed)
        session = Session(store, samples, run.name, reviewer, args.blind)
        server = ReviewServer(session, port)
        _greet(session, server.url)
        if args.open:
            import webbrowser

            webbrowser.open(server.url)
        server.run()
        done = session.progress()
        print(f"{reviewer} has reviewed {sum(done)} of {len(done)} samples; kept in {store.path}")
    finally:
        store.close()
    return 0


def _greet(session: Session, url: str) -> None:
    from guardeval.report.plain import printable

    samples, blind = session.samples, ", blind" if session.blind else ""
    print(
        printable(
            f"{session.run}, {samples.task.name}: {len(samples.samples)} samples ({samples.how}), for {session.reviewer}{blind}"
        )
    )
    print(f"review page: {url}")
    print("Ctrl-C stops it; every mark is kept at once", flush=True)


def _finished(args: argparse.Namespace, run: StoredRun) -> int:
    from guardeval.review.summary import open_reviews

    store = open_reviews(run, Path(args.db).expanduser() if args.db else None)
    if store is None:
        raise DataError(f"{_database(args, run)}: there are no reviews; `guardeval review {args.run}` makes some")
    try:
        if args.export:
            _export(args, run, store)
    finally:
        store.close()
    if args.summary:
        _summarise(args, run)
    return 0


def _export(args: argparse.Namespace, run: StoredRun, store: Store) -> None:
    from guardeval.review.export import export_reviews
    from guardeval.review.selection import task_of

    tasks = [task_of(run, args.task)] if args.task else list(run.tasks)
    lines = export_reviews(store, run, tasks, Path(args.export))
    print(f"written: {args.export} ({lines} lines)")


def _summarise(args: argparse.Namespace, run: StoredRun) -> None:
    from guardeval.report.review_tables import review_tables
    from guardeval.report.terminal import print_table
    from guardeval.review.selection import task_of
    from guardeval.review.summary import review_summaries

    wanted = task_of(run, args.task).name if args.task else None
    found = [s for s in review_summaries(run.path, _database(args, run)) if wanted in (None, s.task)]
    if not found:
        raise DataError(f"{_database(args, run)}: holds no mark; `guardeval review {args.run}` makes some")
    for table in (t for summary in found for t in review_tables(summary)):
        print_table(table)


def _database(args: argparse.Namespace, run: StoredRun) -> Path:
    from guardeval.review.store import REVIEWS_FILE

    return Path(args.db).expanduser() if args.db else run.path / REVIEWS_FILE


def _reviewer(given: str | None) -> str:
    """The name under which marks are kept. Raises :class:`ConfigError` for one that could be mistaken for another."""
    import getpass

    try:
        name = (given if given is not None else getpass.getuser()).strip()
    except (OSError, KeyError):
        raise ConfigError("guardeval review: this user has no name; give one with --reviewer") from None
    if not name or len(name) > 80 or not name.isprintable():
        raise ConfigError(f"guardeval review: --reviewer {name[:80]!r}: a name of at most 80 printable characters is wanted")
    return name
