from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardeval.broker import Broker, default_cache_path
from guardeval.broker.cache import Cache, clear, info
from guardeval.errors import ConfigError
from guardeval.testing.scripted import ScriptedModel, a_request


def key(n):
    return n.to_bytes(16, "big")


def rows(n, value=b"[]"):
    return [(key(i), 1, value) for i in range(n)]


@pytest.fixture
def cache(tmp_path):
    cache = Cache(tmp_path / "answers.sqlite")
    yield cache
    cache.close()


@settings(max_examples=15)
@given(st.dictionaries(st.integers(0, 2000), st.binary(max_size=40), max_size=300), st.sets(st.integers(0, 2000), max_size=700))
def test_what_is_put_is_what_is_found(tmp_path_factory, kept, wanted):
    cache = Cache(tmp_path_factory.mktemp("cache") / "answers.sqlite")
    cache.put([(key(k), 1, v) for k, v in kept.items()])
    assert cache.get([key(k) for k in wanted]) == {key(k): kept[k] for k in wanted if k in kept}
    cache.close()


def test_the_first_answer_to_a_request_stays(cache):
    cache.put(rows(1, b"first"))
    cache.put(rows(1, b"second"))
    assert cache.get([key(0)]) == {key(0): b"first"}


def test_what_is_put_is_seen_by_others_at_once(cache):
    other = Cache(cache.path)
    cache.put(rows(3))
    assert len(other.get([key(i) for i in range(9)])) == 3
    other.close()


def test_two_processes_can_open_a_new_cache_and_write_at_the_same_time(tmp_path):
    path = tmp_path / "deep" / "er" / "answers.sqlite"
    code = """
import sys
from guardeval.broker.cache import Cache
cache = Cache(sys.argv[1])
for start in range(0, 2000, 20):
    cache.put([((int(sys.argv[2]) * 1500 + i).to_bytes(16, "big"), 1, b"[]") for i in range(start, start + 20)])
"""
    workers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(3)]
    assert [w.wait(60) for w in workers] == [0, 0, 0]
    cache = Cache(path)
    assert len(cache.get([key(i) for i in range(6000)])) == 5000  # the ranges overlap
    cache.close()


async def test_two_runs_at_once_share_their_answers(tmp_path):
    first, second = ScriptedModel(lambda _: "x"), ScriptedModel(lambda _: "x")
    async with Broker(tmp_path / "c.sqlite") as one, Broker(tmp_path / "c.sqlite") as two:
        a, b = one.bind(first), two.bind(second)
        for i in range(10):
            await a.asker().generate(a_request(f"q{i}"))
            await b.asker().generate(a_request(f"q{i}"))
    assert (len(first.asked), len(second.asked)) == (10, 0)


def test_info_counts_answers_by_model_and_clear_forgets_them(tmp_path):
    path = tmp_path / "answers.sqlite"
    assert info(path) == {"file": str(path), "answers": 0, "size": 0, "models": {}}
    assert clear(path) == 0
    cache = Cache(path)
    ours, theirs = cache.model_number(b"1" * 16, "ollama/x"), cache.model_number(b"2" * 16, "openai/y")
    cache.put([(key(i), ours if i % 3 else theirs, b"x" * 1000) for i in range(900)])
    assert cache.model_number(b"1" * 16, "another name") == ours
    found = info(path)
    assert (found["answers"], found["models"]) == (900, {"ollama/x": 600, "openai/y": 300})
    assert found["size"] > 900_000
    cache.close()
    assert clear(path) == 900
    assert info(path)["answers"] == 0
    assert info(path)["size"] < 100_000


async def test_info_names_the_models_of_a_run(tmp_path):
    async with Broker(tmp_path / "c.sqlite") as broker:
        bound = broker.bind(ScriptedModel(lambda _: "x"), "scripted/x")
        await asyncio.gather(*(bound.asker().generate(a_request(f"q{i}")) for i in range(7)))
    assert info(tmp_path / "c.sqlite")["models"] == {"scripted/x": 7}


# ── files that cannot be used ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"gdv1" * 400])
def test_a_damaged_cache_is_an_error_with_its_remedy_and_the_remedy_works(tmp_path, content):
    path = tmp_path / "answers.sqlite"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"answers.sqlite.*is damaged.*`guardeval cache clear --cache .*`"):
        Cache(path)
    with pytest.raises(ConfigError, match="damaged"):
        info(path)
    assert clear(path) == 0
    Cache(path).close()


def test_a_cache_that_is_damaged_inside_is_an_error_for_who_asks_and_clear_mends_it(tmp_path):
    path = tmp_path / "answers.sqlite"
    cache = Cache(path)
    cache.put(rows(5000, b"x" * 100))
    cache.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)

    async def ask():
        async with Broker(path) as broker:
            await broker.bind(ScriptedModel(lambda _: "x")).asker().generate(a_request())

    with pytest.raises(ConfigError, match=r"`guardeval cache clear --cache .*`"):
        asyncio.run(ask())
    clear(path)
    asyncio.run(ask())


async def test_an_answer_that_cannot_be_read_is_an_error_with_its_remedy(tmp_path):
    path = tmp_path / "answers.sqlite"
    async with Broker(path) as broker:
        await broker.bind(ScriptedModel(lambda _: "x")).asker().generate(a_request())
    db = sqlite3.connect(path)
    db.execute("UPDATE answer SET value = x'00'")
    db.commit()
    db.close()
    async with Broker(path) as broker:
        with pytest.raises(ConfigError, match=r"an answer in it cannot be read .*`guardeval cache clear --cache .*`"):
            await broker.bind(ScriptedModel(lambda _: "x")).asker().generate(a_request())


def test_another_programs_database_is_neither_used_nor_cleared(tmp_path):
    path = tmp_path / "photos.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE photo (name TEXT)")
    db.commit()
    db.close()
    for use in (Cache, info, clear):
        with pytest.raises(ConfigError, match="another program's database; name a file of its own in GUARDEVAL_CACHE"):
            use(path)
    assert path.exists()


@pytest.mark.parametrize("name", ["letter.txt", "photos.db"])
def test_clear_does_not_delete_a_file_that_is_no_cache(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"Dear all, " * 100)
    for use in (Cache, info, clear):  # none sends to another
        with pytest.raises(ConfigError, match=rf"{name}: is no cache .*; name another file .*, or delete this one yourself$"):
            use(path)
    assert path.exists()


def test_a_cache_of_another_format_says_which(tmp_path):
    path = tmp_path / "answers.sqlite"
    Cache(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(
        ConfigError, match=r"format 99, this version of guardeval reads format 1; run `guardeval cache clear --cache .*`"
    ):
        Cache(path)
    assert clear(path) == 0
    Cache(path).close()


def test_a_place_that_cannot_be_written_is_an_error_that_offers_another(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file" / "answers.sqlite", tmp_path):
        with pytest.raises(ConfigError, match=r"cannot be read and written .*GUARDEVAL_CACHE, or use --no_cache"):
            Cache(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_is_an_error_that_offers_another_place(tmp_path):
    path = tmp_path / "answers.sqlite"
    Cache(path).close()
    path.chmod(0o400)
    with pytest.raises(ConfigError, match="--no_cache"):
        Cache(path)


async def test_a_cache_that_cannot_be_written_any_more_ends_the_run_before_more_is_paid_for(tmp_path):
    path = tmp_path / "answers.sqlite"
    model = ScriptedModel(lambda _: "x" * 4000, latency=0.001)
    async with Broker(path, max_connections=2) as broker:
        bound = broker.bind(model)
        await bound.asker().generate(a_request("first"))
        with sqlite3.connect(path) as other:  # as a full disk does, every write fails from here on
            other.execute(
                "CREATE TRIGGER full BEFORE INSERT ON answer BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
        other.close()
        asked = [bound.asker().generate(a_request(f"q{i}")) for i in range(50)]
        errors = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(e) for e in errors} == {ConfigError}
        assert "the disk is full" in str(errors[0])
        assert "what was answered before is kept" in str(errors[0])
    assert len(model.asked) < 10


# ── where it lies ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_cache_is_for_the_users_eyes_only(cache):
    assert stat.S_IMODE(cache.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("variable", "expected"), [("{}/here", "{}/here/answers.sqlite"), ("{}/here.sqlite", "{}/here.sqlite"), ("", None)]
)
def test_the_environment_names_a_folder_or_a_file_and_asking_where_makes_nothing(tmp_path, monkeypatch, variable, expected):
    monkeypatch.setenv("GUARDEVAL_CACHE", variable.format(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if expected is None and sys.platform == "linux":
        expected = "{}/xdg/guardeval/answers.sqlite"
    if expected:
        assert default_cache_path() == Path(expected.format(tmp_path))
    assert list(tmp_path.iterdir()) == []


async def test_no_prompt_stands_in_the_cache(tmp_path):
    async with Broker(tmp_path / "c.sqlite") as broker:
        await broker.bind(ScriptedModel(lambda _: "the answer")).asker().generate(a_request("a very private question"))
    content = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert b"the answer" in content
    assert b"private" not in content
