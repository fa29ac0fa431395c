"""Votes lost to failures, counted beside the verdicts that others decided."""

from __future__ import annotations

from guardeval.data import Outcome, Vote, Voters
from guardeval.lost_votes import LostVotes
from guardeval.testing.builders import a_verdict

HEARD = Vote("a", Outcome.PARSED, True)
UNREADABLE = Vote("b", Outcome.UNPARSEABLE, raw="hm")
LOST = Vote("c", Outcome.FAILED, raw="HTTP 500:\n  the row's words")


def test_only_failures_count_and_a_verdict_that_failed_as_a_whole_is_counted_elsewhere():
    lost = LostVotes()
    for votes in ((HEARD, UNREADABLE), (HEARD, LOST), (LOST, HEARD, LOST), ()):
        lost.look(a_verdict(votes=votes, voters=Voters.MODELS))
    lost.look(a_verdict(label=None, outcome=Outcome.FAILED, votes=(LOST,), voters=Voters.MODELS))
    assert (lost.samples, lost.voters) == (2, {"c": 3})
    assert "2 samples lack votes" in lost.notice(redact=False)


def test_an_error_is_one_line_and_stays_out_of_a_redacted_run():
    lost = LostVotes()
    assert lost.notice(redact=False) == ""
    lost.look(a_verdict(votes=(LOST,), voters=Voters.MODELS))
    assert lost.notice(redact=False).endswith("HTTP 500: the row's words")
    assert "words" not in lost.notice(redact=True)
