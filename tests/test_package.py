"""The package as others get it: what is in the wheel, what it needs, and that it runs from an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from guardeval.policies import POLICIES, VERBOSITIES

ROOT = Path(__file__).resolve().parent.parent
MAPPED = ("tasks", "solvers", "scorers", "trainers", "plugins")  # top-level folders that install under guardeval
CORE = {"numpy", "orjson", "pyyaml"}
JUNK = shutil.ignore_patterns("__pycache__", "*.egg-info", ".types", "*.part")

# Runs guardeval with every connection refused: whatever asks for a name or an address ends the process.
OFFLINE = """\
import os, runpy, sys
def refuse(event, args):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}:
        print("NETWORK", event, args, file=sys.stderr, flush=True)
        os._exit(99)
sys.addaudithook(refuse)
runpy.run_module("guardeval", run_name="__main__", alter_sys=True)
"""


def build(source: Path, kind: str, out: Path) -> Path:
    """A wheel or sdist by the backend that pyproject.toml names, with the setuptools of this environment."""
    code = f"import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"
    ended = subprocess.run([sys.executable, "-c", code, str(out)], cwd=source, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return out / ended.stdout.split()[-1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of what the repository holds, since building leaves files behind."""
    if not (ROOT / "setup.cfg").is_file():
        pytest.skip("not a checkout")
    pytest.importorskip("setuptools", minversion="77")
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("guardeval", *MAPPED, "tests", "docs"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=JUNK)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory) -> Path:
    return build(checkout, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def contents(wheel) -> set[str]:
    with zipfile.ZipFile(wheel) as z:
        return set(z.namelist())


def read(wheel: Path, ending: str) -> bytes:
    with zipfile.ZipFile(wheel) as z:
        (name,) = (n for n in z.namelist() if n.endswith(ending))
        return z.read(name)


# ---- what is in it ----


def test_everything_lies_under_guardeval_and_no_test_is_in_it(contents):
    tops = {name.partition("/")[0] for name in contents}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"guardeval"}
    assert not [n for n in contents if re.search(r"(^|/)((tests?|bench)/|(tests?|conftest|test_\w+)\.py$)", n)]
    assert not [n for n in contents if n.endswith((".pyc", ".part", ".sqlite", ".gz"))]


def test_every_file_of_the_source_folders_is_in_it(checkout, contents):
    for top in ("guardeval", *MAPPED):
        for path in (checkout / top).rglob("*"):
            inside = path.relative_to(checkout / top).as_posix()
            if path.is_file() and inside != "embedded_weights/README.md":  # for readers of the repository
                assert ("guardeval/" if top == "guardeval" else f"guardeval/{top}/") + inside in contents, path


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "generic_shapes.yaml",
        "prices.yaml",
        "taxonomies/wildguard.yaml",
        *(f"policy_texts/{v}/{p}.txt" for v in VERBOSITIES for p in POLICIES),
        "tasks/wildguard.yaml",
        "tasks/_guard.yaml",
        "tasks/_lm_eval.py",
        "tasks/samples/wildguard.jsonl",
        "solvers/prompts/guardreasoner.txt",
        "solvers/prompts/layout.txt",
        "trainers/lexicon.yaml",
        *(
            f"plugins/embedded_weights/{v}/{f}"
            for v in ("word", "char", "nb")
            for f in ("weights.safetensors", "guardeval-model.yaml")
        ),
    ],
)
def test_what_is_no_python_is_in_it_too(name, contents):
    assert f"guardeval/{name}" in contents


def test_the_shipped_guards_are_under_a_megabyte_each(wheel):
    with zipfile.ZipFile(wheel) as z:
        sizes = {i.filename: i.file_size for i in z.infolist() if i.filename.endswith(".safetensors")}
    assert len(sizes) == 3
    assert max(sizes.values()) < 1_000_000


def test_a_wheel_by_way_of_an_sdist_holds_the_same(checkout, contents, tmp_path):
    sdist = build(checkout, "sdist", tmp_path)
    with tarfile.open(sdist) as tar:
        tar.extractall(tmp_path, filter="data")
    (source,) = (p for p in tmp_path.iterdir() if p.is_dir())
    with zipfile.ZipFile(build(source, "wheel", tmp_path)) as z:
        assert set(z.namelist()) == contents


def test_a_core_install_needs_four_packages(wheel):
    metadata = message_from_bytes(read(wheel, ".dist-info/METADATA"))
    required = [r for r in metadata.get_all("Requires-Dist") if "extra ==" not in r]
    assert {re.match(r"[\w-]+", r)[0] for r in required} == CORE
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License"] == "Apache-2.0" or metadata["License-Expression"] == "Apache-2.0"


def test_every_entry_point_leads_to_a_module_in_it(wheel, contents):
    lines = read(wheel, ".dist-info/entry_points.txt").decode().splitlines()
    modules = [line.partition("=")[2].strip().partition(":")[0] for line in lines if "=" in line]
    assert len(modules) > 20
    for module in modules:
        path = module.replace(".", "/")
        assert f"{path}.py" in contents or f"{path}/__init__.py" in contents, module


# ---- that it runs ----


def needed(names: set[str]) -> Iterator[str]:
    """Distributions and what they need themselves, extras left out."""
    for name in names:
        try:
            found = distribution(name)
        except PackageNotFoundError:  # for another system or an older Python
            continue
        yield name
        yield from needed({re.match(r"[\w.-]+", r)[0] for r in found.requires or () if "extra ==" not in r})


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with the installed wheel, and beside it links to what a core install would bring, and to nothing else."""
    pytest.importorskip("pip")
    site = tmp_path_factory.mktemp("site")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-compile",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run([*install, "--disable-pip-version-check", "--root-user-action=ignore"], check=True)
    for name in sorted(set(needed(CORE))):
        files = distribution(name).files or ()
        for top in {f.parts[0] for f in files if f.parts[0] not in {"..", "__pycache__"} and not f.parts[0].endswith(".pth")}:
            source = Path(distribution(name).locate_file(top))
            if source.exists() and not (site / top).exists():
                (site / top).symlink_to(source)
    return site


@pytest.fixture
def run(installed, tmp_path):
    """Run guardeval of the installed wheel: no site-packages, no network, an empty home, little environment."""
    home = tmp_path / "home"
    home.mkdir()

    def go(*words: str, cwd: Path = tmp_path, code: str = OFFLINE) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": os.defpath,
            "HOME": str(home),
            "PYTHONPATH": str(installed),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        line = [sys.executable, "-S", "-c", code, *words]
        return subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, check=False)

    return go


def test_nothing_but_the_core_packages_is_visible(run):
    code = "import numpy, orjson, yaml\nfor m in ('torch', 'datasets', 'pytest', 'openai'):\n    try: __import__(m)\n    except ImportError: continue\n    print(m)"
    ended = run(code=code)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr


def test_the_first_run_works_offline_with_the_core_packages_alone(run, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    ended = run("run", "--task", "wildguard", "--solver", "multistep", "--data", "sample", cwd=work)
    assert ended.returncode == 0, ended.stderr
    assert "not the benchmark" in ended.stdout
    assert re.search(r"f1 +0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", ended.stdout)
    assert [p.name for p in work.iterdir()] == ["runs"]
    (folder,) = (work / "runs").iterdir()
    assert {p.name.partition("_")[0].partition("-")[0] for p in folder.iterdir()} == {"run.yaml", "results", "samples"}
    assert {str(p.relative_to(tmp_path / "home")) for p in (tmp_path / "home").rglob("*.sqlite")} == {
        ".cache/guardeval/answers.sqlite"
    }


def test_a_connection_would_have_been_noticed(run):
    base_url = "base_url=http://127.0.0.1:9/v1"
    ended = run("run", "--task", "wildguard", "--data", "sample", "--model", "openai_compatible/x", "-M", base_url)
    assert (ended.returncode, ended.stderr.partition(" ")[0]) == (99, "NETWORK")


def test_what_an_extra_would_bring_is_named(run):
    ended = run("run", "--task", "wildguard")
    assert ended.returncode == 2
    assert "pip install 'guardeval[hub]'" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("where", ["an empty folder", "the repository", "a folder with a tasks folder in it"])
def test_names_are_listed_from_anywhere(run, tmp_path, where):
    (tmp_path / "other" / "tasks").mkdir(parents=True)
    (tmp_path / "other" / "tasks" / "__init__.py").write_text("raise RuntimeError('a folder of the user')\n")
    cwd = {"an empty folder": tmp_path / "home", "the repository": ROOT}.get(where, tmp_path / "other")
    tasks, solvers = run("list", "tasks", cwd=cwd), run("list", "solvers", cwd=cwd)
    assert (tasks.returncode, solvers.returncode) == (0, 0), tasks.stderr + solvers.stderr
    assert "WildGuardTest" in tasks.stdout
    assert "multistep" in solvers.stdout
    shown = run("show", "multistep", cwd=cwd)
    assert (shown.returncode, shown.stderr) == (0, ""), shown.stderr


def test_an_uninstalled_checkout_imports_its_mapped_folders(installed, checkout, tmp_path):
    core = tmp_path / "core"
    core.mkdir()
    for path in installed.iterdir():
        if not path.name.startswith("guardeval"):
            (core / path.name).symlink_to(path.resolve())
    code = "import guardeval.tasks, guardeval.solvers.multistep as m, guardeval.plugins.embedded; print(m.__file__)"
    env = {"PATH": os.defpath, "PYTHONPATH": str(core), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=checkout, env=env, capture_output=True, text=True, check=False
    )
    assert ended.stdout.strip() == str(checkout / "solvers" / "multistep.py"), ended.stderr


def test_the_running_package_is_found_by_its_names_alone():
    for name in MAPPED:
        assert import_module(f"guardeval.{name}").__name__ == f"guardeval.{name}"
        found = sys.modules.get(name)
        assert found is None or not str(getattr(found, "__file__", "")).startswith(str(ROOT / name)), (
            f"{name} is imported twice"
        )
