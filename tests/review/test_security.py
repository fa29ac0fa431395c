"""Who is refused: wrong host, no key, another page, another method; and that nothing was changed then."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest


class Client:
    """Plain HTTP to one server; ``cookie`` as the page has it."""

    def __init__(self, url: str) -> None:
        self.port, self.entry = urlsplit(url).port, "/?" + urlsplit(url).query
        self.own = {"Origin": f"http://127.0.0.1:{self.port}", "X-Guardeval-Review": "1", "Content-Type": "application/json"}
        reply = self.ask("GET", self.entry, cookie=False)
        self.first = reply
        self.cookie = reply.getheader("set-cookie").partition(";")[0]

    def ask(self, method="GET", path="/api/state", body=None, cookie=True, **headers):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        given = ({"Cookie": self.cookie} if cookie else {}) | {k.replace("_", "-"): v for k, v in headers.items()}
        link.request(method, path, body, given)
        reply = link.getresponse()
        reply.text = reply.read().decode()
        link.close()
        return reply

    def post(self, body='{"position": 0, "field": "mark", "value": "agree"}', path="/api/marks", **changes):
        headers = {k: v for k, v in (self.own | {k.replace("_", "-"): v for k, v in changes.items()}).items() if v is not None}
        return self.ask("POST", path, body, **headers)

    def marked(self):
        return json.loads(self.ask(path="/api/samples/0").text)["marks"]["mark"]


@pytest.fixture
def client(run_folder, serve) -> Client:
    return Client(serve(run_folder))


def test_the_key_is_changed_for_a_cookie_that_scripts_and_other_sites_do_not_get(client):
    assert (client.first.status, client.first.getheader("location")) == (303, "/")
    assert client.first.getheader("set-cookie").endswith("; HttpOnly; SameSite=Strict; Path=/")
    assert client.entry.partition("=")[2] not in client.cookie
    assert client.ask(path="/").status == 200


@pytest.mark.parametrize("path", ["/", "/api/state", "/static/review.js", "/no", "/?key=wrong", "/?key=", "/api/samples/0"])
def test_without_the_key_nothing_is_served(client, path):
    assert client.ask(path=path, cookie=False).status == 403
    assert client.ask(path=path, cookie=False, Cookie=f"guardeval_review_{client.port}=é").status == 403


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1", "127.0.0.1:1", "evil.example:80"])
def test_another_host_name_is_refused(client, host):
    reply = client.ask(Host=host)
    assert reply.status == 421
    assert "harmful" not in reply.text
    assert client.post(Host=host).status == 421
    assert client.marked() is None


@pytest.mark.parametrize(
    "changes",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": None},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"X_Guardeval_Review": None},
        {"Content_Type": "text/plain"},
        {"Content_Type": None},
        {"Cookie": "guardeval_review=1"},
    ],
)
def test_a_change_that_another_page_asks_for_is_refused(client, changes):
    changed = {k.replace("_", "-"): v for k, v in changes.items()}
    assert client.post(**changed).status in (403, 415)
    assert client.marked() is None


def test_the_page_itself_may_change(client):
    assert client.post(Sec_Fetch_Site="same-origin").status == 200
    assert client.marked() == "agree"


def test_another_page_cannot_read_either(client):
    assert client.ask(Origin="http://evil.example").status == 403
    assert client.ask(Sec_Fetch_Site="cross-site").status == 403
    assert client.ask("PUT").status == 405
    assert client.ask("OPTIONS", Origin="http://evil.example").status == 405


@pytest.mark.parametrize("path", ["/", "/api/state", "/static/review.css", "/no", "/static/..%2fapp.py", "/api/samples/99"])
def test_every_answer_has_the_headers(client, path):
    for reply in (client.ask(path=path), client.ask(path=path, cookie=False), client.ask(path=path, Host="evil")):
        policy = reply.getheader("content-security-policy")
        assert policy.startswith("default-src 'none'; script-src 'self'") and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert reply.getheader("x-content-type-options") == "nosniff"
        assert reply.getheader("referrer-policy") == "no-referrer"
        assert reply.getheader("cache-control") == "no-store"
        assert reply.getheader("access-control-allow-origin") is None
        assert reply.getheader("server") is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("[]", 400),
        ("{", 400),
        ("[" * 100_000, 400),
        ('{"position": true, "field": "mark", "value": null}', 400),
        ('{"position": 0, "field": "undo", "value": null}', 400),
        ('{"position": 0, "field": ["mark"], "value": null}', 400),
        ('{"position": 0, "field": "category", "value": {}}', 400),
        ('{"position": 99, "field": "mark", "value": "agree"}', 404),
        ('{"position": -1, "field": "mark", "value": "agree"}', 404),
        ('{"position": 5, "field": "mark", "value": "agree"}', 409),
        ('{"position": 0, "field": "comment", "value": "' + "x" * 300_000 + '"}', 413),
    ],
)
def test_nonsense_is_answered_with_a_reason(client, body, status):
    reply = client.post(body)
    assert reply.status == status
    assert json.loads(reply.text)["error"]
    assert client.ask().status == 200


def test_only_the_two_static_files_are_served(client):
    for path in (
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/review.html",
    ):
        assert client.ask(path=path).status == 404
