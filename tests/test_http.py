"""Our HTTP/1.1 client: answers in every framing, connections that are kept, closed, stale, encrypted."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import subprocess
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guardeval.http_connections import ConnectFailed, HttpConnections
from guardeval.http_reply import BrokenReply, Reply, ReplyReader


def read(data: bytes, cuts: list[int] | None = None, ends: bool = False) -> Reply | None:
    reader, last = ReplyReader(), 0
    for cut in [*sorted(c % (len(data) + 1) for c in cuts or []), len(data)]:
        if cut > last and (reply := reader.feed(data[last:cut])) is not None:
            return reply
        last = cut
    return reader.end() if ends else None


OK = b"HTTP/1.1 200 OK\r\n"
HELLO = [
    OK + b"Content-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-LENGTH:5\r\nX: y\r\n\r\nhello",
    OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    OK + b"Content-Encoding: gzip\r\nContent-Length: 25\r\n\r\n" + gzip.compress(b"hello", mtime=0),
    OK + b"Content-Encoding: deflate\r\nContent-Length: 13\r\n\r\n" + zlib.compress(b"hello"),
]


@given(st.sampled_from(HELLO), st.lists(st.integers(0, 200)))
def test_an_answer_is_the_same_however_it_arrives(data, cuts):
    reply = read(data, cuts)
    assert reply is not None
    assert (reply.status, reply.body, reply.reusable) == (200, b"hello", True)


@given(st.lists(st.integers(0, 100)))
def test_an_answer_without_a_length_ends_with_its_connection(cuts):
    reply = read(OK + b"\r\nhello", cuts, ends=True)
    assert reply is not None
    assert (reply.body, reply.reusable) == (b"hello", False)


@pytest.mark.parametrize("head", [b"Connection: close\r\n", b"Connection: Keep-Alive, Close\r\n"])
def test_a_connection_that_will_be_closed_is_not_asked_again(head):
    reply = read(OK + head + b"Content-Length: 0\r\n\r\n")
    assert reply is not None
    assert not reply.reusable


def test_bytes_after_an_answer_make_its_connection_useless():
    reply = read(OK + b"Content-Length: 1\r\n\r\nab")
    assert reply is not None
    assert (reply.body, reply.reusable) == (b"a", False)


def test_headers_are_found_whatever_their_case():
    reply = read(b"HTTP/1.1 429 Slow\r\nRetry-After:  7 \r\nContent-Length: 0\r\n\r\n")
    assert reply is not None
    assert (reply.status, reply.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body_by_their_status(status):
    reply = read(b"HTTP/1.1 %d X\r\n\r\n" % status)
    assert reply is not None
    assert reply.body == b""


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        OK + b"Content-Length: -5\r\n\r\n",
        OK + b"Content-Length: 5, 5\r\n\r\nhello",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffff\r\n",
        OK + b"Content-Encoding: br\r\nContent-Length: 1\r\n\r\nx",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
        OK + b"X: " + b"y" * 70_000,
    ],
)
def test_what_is_no_http_is_a_broken_reply(data):
    with pytest.raises(BrokenReply):
        read(data)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 20", OK + b"Content-Length: 9\r\n\r\nhello", HELLO[2][:-2]])
def test_an_answer_that_is_cut_off_is_never_taken_for_a_whole_one(data):
    with pytest.raises(BrokenReply, match=r"closed before|cut off"):
        read(data, ends=True)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda b: OK + b), st.lists(st.integers(0, 200)))
@example(OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n", [])
def test_any_bytes_are_an_answer_or_a_broken_one(data, cuts):
    try:
        reply = read(data, cuts, ends=True)
    except BrokenReply:
        return
    assert 200 <= reply.status <= 999


# ── connections ───────────────────────────────────────────────────────────────────────────────────────────────────

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handle: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Echo:
    """Answers with the number of the connection and of the request on it; closes after ``limit`` requests."""

    def __init__(self, limit: int = 1000) -> None:
        self.connections, self.limit, self.asked = 0, limit, []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        for request in range(self.limit):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            length = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
            self.asked.append(head + await reader.readexactly(length[0] if length else 0))
            body = b"%d.%d" % (number, request)
            writer.write(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()


async def test_a_connection_is_kept_and_another_opened_only_for_what_is_asked_at_once():
    echo = Echo()
    async with serving(echo) as port:
        client = HttpConnections(f"http://127.0.0.1:{port}/v1", {"Authorization": "Bearer k"}, 5)
        assert [(await client.post("/x", b"{}")).body for _ in range(3)] == [b"1.0", b"1.1", b"1.2"]
        await asyncio.gather(*(client.post("/x", b"{}") for _ in range(4)))
        assert echo.connections == 4
        await client.close()
    head, _, body = echo.asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Authorization: Bearer k" in head
    assert body == b"{}"


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced():
    echo = Echo(limit=1)
    async with serving(echo) as port:
        client = HttpConnections(f"http://127.0.0.1:{port}", {}, 5)
        for number in (1, 2):
            assert (await client.get("/", 5)).body == b"%d.0" % number
            await asyncio.sleep(0.05)
        await client.close()


async def test_an_answer_that_comes_too_late_is_never_given_to_the_next_request():
    async def slow_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        slow.append(1)
        await asyncio.sleep(3 if len(slow) == 1 else 0)
        writer.write(OK + b"Content-Length: 1\r\n\r\n%d" % len(slow))

    slow: list[int] = []
    async with serving(slow_first) as port:
        client = HttpConnections(f"http://127.0.0.1:{port}", {}, 1.0)
        with pytest.raises(TimeoutError):
            await client.post("/", b"")
        assert (await client.post("/", b"")).body == b"2"
        task = asyncio.create_task(client.post("/", b""))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.post("/", b"")).body != b"2"
        await client.close()


async def test_a_server_that_says_nothing_or_goes_away_is_told_apart():
    async def goes_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with serving(goes_away) as port:
        client = HttpConnections(f"http://127.0.0.1:{port}", {}, 5)
        with pytest.raises(BrokenReply, match="closed before an answer"):
            await client.post("/", b"")
        await client.close()
    with pytest.raises(ConnectFailed, match=r"refused|failed"):
        await client.post("/", b"")
    with pytest.raises(ConnectFailed):
        await HttpConnections("http://no-such-host.invalid", {}, 5).get("/", 5)


async def test_a_header_cannot_smuggle_another_in():
    with pytest.raises(ValueError, match="control character"):
        HttpConnections("http://127.0.0.1", {"Authorization": "Bearer x\r\nEvil: yes"}, 5)


async def test_encrypted_connections_work_and_certificates_are_checked(tmp_path, monkeypatch):
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with serving(Echo(), context) as port:
        with pytest.raises(ConnectFailed, match="its certificate is not trusted"):
            await HttpConnections(f"https://localhost:{port}", {}, 5).get("/", 5)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        client = HttpConnections(f"https://localhost:{port}", {}, 5)
        assert [(await client.get("/", 5)).body[-2:] for _ in range(2)] == [b".0", b".1"]
        await client.close()


def self_signed(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    try:
        subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl command here to make a certificate with")
    return certificate, key
