"""Review by people: samples of a run shown one by one on a local page, marks kept in SQLite, agreement measured.

``store`` keeps marks, ``selection`` says which samples, ``page_data`` what is shown, ``app`` and ``security`` are the web
page, ``serving`` runs it, ``summary`` counts what came of it.
"""

from __future__ import annotations

from guardeval.review.summary import ReviewSummary, review_summary

__all__ = ["ReviewSummary", "review_summary"]
