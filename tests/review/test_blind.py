"""A blind review: nothing of the answer leaves the server before a label is given and the answer is asked for."""

from __future__ import annotations

import http.client
import json
from datetime import datetime
from urllib.parse import urlsplit

import pytest
from review_support import session_on, voted, write_run

from guardeval.data import Step
from guardeval.review.marks import Field
from guardeval.review.session import Refused
from guardeval.review.store import REVIEWS_FILE

SECRETS = (
    "TELLTALE",
    "cooking",
    "one/small",
    "two/middle",
    "weigh",
    "violence",
    "parsed",
    "2/3",
    "0.66",
    "steps",
    "votes",
    "gold_policies",
)


def telling(index: int, gold: bool, label: bool):
    return voted(
        index, gold, label, policies=frozenset({"violence"}) if label else frozenset(), notes=("TELLTALE note",), raw="TELLTALE raw",
        steps=(Step("TELLTALE step", "TELLTALE"),), category="cooking" if gold else "benign", doc={"answer": "TELLTALE"},
        id=f"id{index}",
    )  # fmt: skip


def everything(url: str) -> dict[str, bytes]:
    """Every response, headers too, of a whole blind review up to the labels."""
    port = urlsplit(url).port
    link = http.client.HTTPConnection("127.0.0.1", port)
    own = {"Origin": f"http://127.0.0.1:{port}", "X-Guardeval-Review": "1", "Content-Type": "application/json"}
    heard = {}

    def ask(method, path, body=None, cookie=""):
        link.request(
            method, path, None if body is None else json.dumps(body), {"Cookie": cookie, **(own if method == "POST" else {})}
        )
        reply = link.getresponse()
        fixed = [(k, v) for k, v in reply.getheaders() if k.lower() not in ("date", "set-cookie")]
        heard[f"{method} {path} {json.dumps(body)}"] = f"{reply.status} {fixed}".encode() + reply.read()
        return reply

    cookie = ask("GET", urlsplit(url).path + "?" + urlsplit(url).query).getheader("set-cookie").partition(";")[0]
    heard.clear()  # the address holds the key, which differs
    for path in (
        "/",
        "/static/review.js",
        "/static/review.css",
        "/api/state",
        "/api/samples/0",
        "/api/samples/1",
        "/api/samples/9",
    ):
        ask("GET", path, cookie=cookie)
    for body in (
        {"position": 0, "field": "reveal", "value": "yes"},
        {"position": 0, "field": "mark", "value": "agree"},
        {"position": 0, "field": "category", "value": "missed"},
        {"position": 0, "field": "coherent", "value": "yes", "member": "one/small"},
        {"position": 0, "field": "comment", "value": "hm"},
        {"position": 0, "field": "label", "value": "harmful"},
        {"position": 1, "field": "label", "value": "unharmful"},
    ):
        ask("POST", "/api/marks", body, cookie)
    ask("POST", "/api/undo", {}, cookie)
    ask("GET", "/api/samples/0", cookie=cookie)
    return heard


def test_what_a_blind_reviewer_is_sent_does_not_depend_on_the_answer(tmp_path, serve):
    heard = []
    for gold, label in ((True, True), (False, True), (True, False), (False, False)):
        folder = write_run(
            tmp_path / f"{gold}{label}", [telling(0, gold, label), telling(1, not gold, label)], datetime(2026, 1, 1)
        )
        heard.append(everything(serve(folder, samples="id0,id1", blind=True)))
    assert len(heard[0]) >= 14
    assert heard[1:] == heard[:1] * 3
    data = b"".join(body for path, body in heard[0].items() if "static" not in path).decode()
    assert [word for word in SECRETS if word in data.replace("one/small'", "")] == []


def test_after_a_label_the_answer_is_shown_on_request_and_the_label_stays(run_folder):
    with session_on(run_folder, samples="0,1,2", blind=True) as session:
        with pytest.raises(Refused, match="first give a label"):
            session.mark(0, Field.REVEAL, "yes")
        with pytest.raises(Refused, match="begins with a label"):
            session.mark(0, Field.MARK, "agree")
        assert session.mark(0, Field.LABEL, "unharmful")["sample"]["hidden"]
        shown = session.mark(0, Field.REVEAL, "yes")["sample"]
        assert (shown["gold"], shown["verdict"]["word"], len(shown["votes"])) == ("harmful", "harmful", 3)
        with pytest.raises(Refused, match="it stays"):
            session.mark(0, Field.LABEL, "harmful")
        session.mark(0, Field.MARK, "agree")
        assert session.undo()["field"] == "mark"
        assert session.undo() == {"position": None}  # neither the label nor the showing can be undone
        assert session.sample(1)["sample"]["hidden"]
        (marks,) = session.store.marks("wildguard").values()
        assert (marks.blind, marks.revealed, marks.label) == (True, True, "unharmful")
    assert (run_folder / REVIEWS_FILE).is_file()


def test_an_open_review_records_that_its_labels_are_not_blind(session):
    session.mark(0, Field.LABEL, "harmful")
    assert not session.store.marks("wildguard")["0", "ann"].blind
    with pytest.raises(Refused, match="nothing of this sample is hidden"):
        session.mark(0, Field.REVEAL, "yes")
