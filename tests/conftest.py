"""What all tests share: where the real benchmark data lie, if they are here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# how long an example takes says how busy the machine is, not whether the code is right; the same examples at each run, so that a
# change is told from luck: `--hypothesis-profile explore` draws others, and more
settings.register_profile("guardeval", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=500)
settings.load_profile("guardeval")

sys.path.insert(0, str(Path(__file__).resolve().parent))  # tests are imported by file; their helpers need a place to be found

SHARED = Path(os.environ.get("GUARDEVAL_SHARED", Path(__file__).resolve().parent.parent.parent / "shared"))


# files that take longest: begun first, so that two workers end together (--no-loadscope-reorder keeps this order)
_LONG = ("interop/test_", "test_same_model_inspect", "finetuning/test_", "newcomers/test_", "executors/test_", "docs/test_commands", "optimizers/test_",
         "programme/test_", "contracts/test_models", "test_combine", "gates/test_", "cli/test_check_command")  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, each file whole."""
    items.sort(key=lambda item: next((i for i, part in enumerate(_LONG) if part in item.nodeid), len(_LONG)))


@pytest.fixture(scope="module", autouse=True)
def own_environment() -> Iterator[None]:
    """What a file's tests, or a library that they use, leave in the environment does not reach the next file."""
    before, folder = dict(os.environ), Path.cwd()
    yield
    os.environ.clear()
    os.environ.update(before)
    os.chdir(folder)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real benchmarks and recorded generations; tests that need it skip where it is not."""
    folder = SHARED / "data"
    if not (folder / "MANIFEST.json").is_file():
        pytest.skip("the benchmark data folder (../shared/data) is not here")
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser for the tests of one file: while it is open no coroutine can be tested."""
    from browser_support import launched

    with launched() as browser:
        yield browser


@pytest.fixture
def chromium_page(chromium: Any) -> Iterator[Any]:
    """An empty page, 1280 pixels wide, in a browser context of its own."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()
