"""Tables of failures: numbers, clipped and printable texts, nothing of a redacted run."""

from __future__ import annotations

from guardeval.data import Target
from guardeval.failures import Mode
from guardeval.judged import Judgements
from guardeval.report.failures import clip, examples_of, failure_tables
from guardeval.report.markdown import markdown_sections
from guardeval.report.terminal import sections_text
from guardeval.testing.builders import a_judged

NASTY = "\x1b]0;title\x07 <script>alert(1)</script> | \u202e [x](javascript:y) `\n\n# heading " + "z" * 5000


def tables(judged, **options):
    return {t.title: t for t in failure_tables(Judgements.of(judged, Target.PROMPT), **options)}


def test_the_tables_of_a_small_run():
    judged = [a_judged(False, i < 1, i, category="c", score=0.9 if i < 1 else 0.2) for i in range(4)]
    judged.append(a_judged(True, None, 4))
    shown = tables(judged)
    rows = {row[0]: row for row in shown["modes of failure"].rows}
    assert rows["over-flagged"][:2] == ("over-flagged", "1") and rows["over-flagged"][2].startswith("0.250 [")
    assert rows["missed"][2] == "n/a"
    assert any("1 unparseable" in note for note in shown["modes of failure"].notes)
    assert shown["failures by category (samples with a verdict)"].rows[0][0] == "c"
    assert [row[:3] for row in shown["examples"].rows] == [("over-flagged", "0", "0.90"), ("unreadable", "4", "")]


def test_hostile_texts_neither_steer_a_terminal_nor_break_a_table():
    judged = [a_judged(False, i % 2 == 0, i, id=f"{NASTY}{i}", prompt=NASTY, category=NASTY) for i in range(12)]
    found = failure_tables(Judgements.of(judged, Target.PROMPT))
    text = sections_text([(NASTY, found)], plain=True)
    assert all(line.isprintable() for line in text.split("\n"))
    md = markdown_sections([("t", found)])
    assert "<script" not in md.replace("\\<", "") and "\x1b" not in md
    for table in found:
        for row in table.rows:
            assert len(row) == len(table.columns)


def test_nothing_of_a_text_stands_in_the_tables_of_a_redacted_run():
    judged = [a_judged(False, True, i, prompt="secret words here") for i in range(9)]
    text = sections_text([("t", failure_tables(Judgements.of(judged, Target.PROMPT), redacted=True))], plain=True)
    assert "secret" not in text and "ids only" in text


def test_examples_are_the_surest_mistakes_and_the_closest_calls():
    scores = (0.51, 0.99, None, 0.7)
    judged = Judgements.of([a_judged(False, True, i, score=s) for i, s in enumerate(scores)], Target.PROMPT)
    assert examples_of(judged, Mode.OVERFLAGGED, 3) == [1, 3, 0]
    assert examples_of(judged, Mode.EDGE, 3) == [0]


def test_a_clipped_text_is_one_short_line_however_long_the_text():
    assert len(clip("a\n" * 10_000_000)) <= 100 and clip("a\r\n\tb") == "a b"
