"""A model folder as a wheel that another environment installs and uses by name; and what never gets into one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml
from guard_support import made_up, train_guard, write_task

import guardeval
from guardeval.errors import ConfigError, PluginError
from guardeval.model_package import build_wheel, write_project
from guardeval.models import ModelSpec, build_model
from guardeval.registry import Registry
from guardeval.validation import validate_plugins

pytest.importorskip("sklearn")
pytest.importorskip("setuptools")
ROWS = made_up(60)


@pytest.fixture(scope="module")
def guard(tmp_path_factory) -> Path:
    folder = train_guard(ROWS[:40], tmp_path_factory.mktemp("trained") / "guard")
    card = folder / "guardeval-model.yaml"
    card.write_text(
        yaml.safe_dump({**yaml.safe_load(card.read_text()), "licence": "ODC-BY-1.0", "notices": ["mind <the> gap"]})
    )
    return folder


@pytest.fixture(scope="module")
def wheel(guard, tmp_path_factory) -> Path:
    return build_wheel(write_project(guard, "my-guard.v2", tmp_path_factory.mktemp("project") / "p", version="2.1"))


def a_folder(desk: Path, **card) -> Path:
    folder = desk / "guard"
    folder.mkdir(exist_ok=True)
    (folder / "guardeval-model.yaml").write_text(yaml.safe_dump({"backend": "dummy", **card}))
    return folder


def test_a_wheel_holds_the_folder_and_no_code(wheel, guard):
    assert wheel.name == "guardeval_model_my_guard_v2-2.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as held:
        names = held.namelist()
        inside = {n.partition("/model/")[2] for n in names if "/model/" in n}
        assert inside == {"README.md", "guardeval-model.yaml", "seen_prompts.bin", "weights.safetensors"}
        assert [n for n in names if n.endswith(".py")] == ["guardeval_model_my_guard_v2/__init__.py"]
        assert held.read("guardeval_model_my_guard_v2/__init__.py").count(b"\n") == 1
        info = next(n for n in names if n.endswith("METADATA"))
        about = message_from_string(held.read(info).decode())
        points = held.read(info.replace("METADATA", "entry_points.txt")).decode()
        for file in ("weights.safetensors", "seen_prompts.bin", "guardeval-model.yaml"):
            assert held.read(f"guardeval_model_my_guard_v2/model/{file}") == (guard / file).read_bytes()
    assert about["License"] == "ODC-BY-1.0" and about["Requires-Dist"] == f"guardeval>={guardeval.__version__}"
    assert "40 prompts" in about.get_payload() and "mind \\<the\\> gap" in about.get_payload()
    assert str(guard) not in about.get_payload()
    assert points.split() == ["[guardeval.models]", "my-guard.v2", "=", "guardeval_model_my_guard_v2"]


def test_another_environment_installs_the_wheel_and_uses_it_by_name(wheel, desk):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {"GUARDEVAL_CONFIG": str(desk / "none")}

    def done(*words: object) -> str:
        found = subprocess.run([str(w) for w in words], capture_output=True, text=True, env=env, check=False, timeout=120)
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    done(sys.executable, "-m", "venv", "--without-pip", desk / "second")
    python = desk / "second" / "bin" / "python"
    site = Path(done(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip())
    lines = [f"import site; site.addsitedir({path!r})" for path in sys.path if path.endswith("site-packages")]
    (site / "base.pth").write_text("\n".join(lines) + "\n")
    done(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    asked = write_task(desk / "mine", ROWS[20:])
    words = (
        "--task",
        "mine",
        "--include_path",
        asked["include_path"],
        "--data",
        asked["data"],
        "--no_cache",
        "-q",
        "-o",
        "out",
    )
    run = " ".join(done(python, "-m", "guardeval", "run", "--model", "my-guard.v2", *words).split())  # whatever the width
    assert "marked: contaminated" in run and "has seen 20 of 40 prompts" in run and "mind <the> gap" in run
    assert "my-guard.v2" in done(python, "-m", "guardeval", "models", "list")
    assert "40 prompts" in done(python, "-m", "guardeval", "models", "show", "my-guard.v2")
    assert "The model my-guard.v2" in done(python, "-m", "guardeval", "list", "models")
    assert "backend: embedded" in done(python, "-m", "guardeval", "show", "my-guard.v2")
    here = done(python, "-c", "import guardeval_model_my_guard_v2 as m; print(m.__file__)")
    assert here.startswith(str(desk / "second"))


def registry_with(value: str, name: str = "mine") -> Registry:
    ours = list(Registry().entries("models").values())
    return Registry([*ours, EntryPoint(name, value, "guardeval.models")])


def test_a_packaged_model_is_named_alone_and_must_hold_a_folder(desk, monkeypatch, guard):
    monkeypatch.syspath_prepend(str(desk))
    for name in ("packed_one", "packed_empty"):
        (desk / name).mkdir()
        (desk / name / "__init__.py").write_text('"""A model."""\n')
    (desk / "packed_one" / "model").symlink_to(guard)
    found = build_model(ModelSpec("mine"), registry_with("packed_one"))
    assert Path(found.model) == desk / "packed_one" / "model"
    assert validate_plugins(registry_with("packed_one")).found == []
    with pytest.raises(ConfigError, match="is a packaged model, which has no models of its own"):
        build_model(ModelSpec("mine/x"), registry_with("packed_one"))
    with pytest.raises(PluginError, match=r"holds no model/guardeval-model\.yaml"):
        build_model(ModelSpec("mine"), registry_with("packed_empty"))
    assert any("holds no model/" in p for p in validate_plugins(registry_with("packed_empty")).found)
    card = a_folder(desk, backend="mine")
    with pytest.raises(ConfigError, match="which is a packaged model"):
        build_model(ModelSpec(str(card)), registry_with("packed_one"))
    with pytest.raises(PluginError, match="does not import"):
        build_model(ModelSpec("mine"), registry_with("packed_nowhere"))


def test_what_is_no_part_of_the_model_stays_out(desk, capsys, cli_main):
    folder = a_folder(desk, policies="policies")
    for name in (
        "training/state.json",
        "training/checkpoint-1/optimizer.pt",
        "policies/mine.txt",
        ".git/config",
        "notes/a.txt",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    for name in ("tokenizer.json", "modeling_x.py", "run.sh", "README.md"):
        (folder / name).write_text("x")
    made = write_project(folder, "g", desk / "p")
    kept = {
        str(p.relative_to(desk / "p/guardeval_model_g/model"))
        for p in (desk / "p/guardeval_model_g/model").rglob("*")
        if p.is_file()
    }
    assert kept == {"guardeval-model.yaml", "policies/mine.txt", "tokenizer.json", "README.md"}
    assert set(made.left_out) == {"training/", ".git", "notes/", "modeling_x.py", "run.sh"}
    assert cli_main("models", "package", "guard", "-o", "q") == 0
    assert "left out: .git, modeling_x.py" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["pytorch_model.bin", "optimizer.pt", "x.PKL", "policies/a.pickle"])
def test_pickles_are_refused(desk, name):
    folder = a_folder(desk, policies="policies")
    (folder / "policies").mkdir()
    (folder / name).write_text("x")
    with pytest.raises(ConfigError, match="may be a pickle"):
        write_project(folder, "g", desk / "p")
    assert not (desk / "p").exists()


@pytest.mark.parametrize("name", ["notes.txt", "policies", "policies/a.txt", "link.safetensors"])
def test_links_are_refused(desk, name):
    folder = a_folder(desk, **({"policies": "policies"} if name != "policies" else {}))
    (desk / "secret.txt").write_text("a secret")
    if name != "policies":
        (folder / "policies").mkdir()
    (folder / name).symlink_to(desk / "secret.txt")
    with pytest.raises(ConfigError, match="is a link"):
        write_project(folder, "g", desk / "p")


def test_weights_that_are_not_the_cards_are_refused(desk):
    folder = train_guard(ROWS[:40], desk / "guard")
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(ConfigError, match=r"is not the file that guardeval-model\.yaml names"):
        write_project(folder, "g", desk / "p")
    weights.unlink()
    with pytest.raises(ConfigError, match="which are not among its files"):
        write_project(folder, "g", desk / "p")
    card = a_folder(desk, weights=[{"file": "../../secret", "sha256": "0"}])
    with pytest.raises(ConfigError, match="which are not among its files"):
        write_project(card, "g", desk / "p")


def an_adapter(desk: Path, base: str) -> Path:
    folder = a_folder(desk, backend="hf")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base, "revision": "main", "r": 8}))
    (folder / "adapter_model.safetensors").write_bytes(b"x")
    return folder


def a_base(desk: Path) -> Path:
    base = desk / "base model"
    base.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "code.py"):
        (base / name).write_text("{}")
    return base


def test_an_adapter_of_a_hub_model_goes_as_it_is(desk):
    made = write_project(an_adapter(desk, "org/base-7b"), "g", desk / "p")
    kept = json.loads((made.project / "guardeval_model_g/model/adapter_config.json").read_text())
    assert kept["base_model_name_or_path"] == "org/base-7b"
    project = tomllib.loads((made.project / "pyproject.toml").read_text())
    assert project["project"]["dependencies"] == [f"guardeval[hf]>={guardeval.__version__}"]


@pytest.mark.parametrize("relative", [True, False])
def test_an_adapter_of_a_local_base_takes_it_along_or_is_refused(desk, relative):
    base = a_base(desk)
    folder = an_adapter(desk, "../base model" if relative else str(base))
    with pytest.raises(ConfigError, match=r"is a folder of this machine .* --with_base"):
        write_project(folder, "g", desk / "p")
    made = write_project(folder, "g", desk / "p", with_base=True)
    model = made.project / "guardeval_model_g" / "model"
    kept = json.loads((model / "adapter_config.json").read_text())
    assert (kept["base_model_name_or_path"], kept["revision"], kept["r"]) == ("base", None, 8)
    assert sorted(p.name for p in (model / "base").iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]


def test_a_base_that_is_nowhere_is_explained(desk):
    with pytest.raises(ConfigError, match=r"neither a folder here nor OWNER/NAME"):
        write_project(an_adapter(desk, "/data/models/base"), "g", desk / "p")


@pytest.mark.parametrize(
    ("options", "card", "said"),
    [
        ({"name": "embedded"}, {}, "is one of an installed backend"),
        ({"name": "a/b"}, {}, "letters, digits"),
        ({"version": "one"}, {}, "--version one"),
        ({}, {"usable": False}, "not usable by its own check"),
        ({}, {"backend": "hf", "options": {"trust_remote_code": True}}, "which only you may"),
        ({}, {"backend": "x:Y"}, "may only name an installed one"),
        ({}, {"exposure": {"prompts": 3, "sha256": "0"}}, "what the model has seen is not known"),
    ],
)
def test_what_cannot_be_packaged_is_explained(desk, options, card, said):
    with pytest.raises(ConfigError, match=said):
        write_project(a_folder(desk, **card), **({"name": "g", "out": desk / "p"} | options))
    assert not (desk / "p").exists()


def test_a_project_is_never_written_over_something_else(desk):
    (desk / "p").mkdir()
    (desk / "p" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        write_project(a_folder(desk), "g", desk / "p")
    assert [p.name for p in (desk / "p").iterdir()] == ["mine.txt"]


def test_texts_of_a_card_cannot_break_out_of_the_project_file(desk):
    evil = 'MIT"}\n[tool.setuptools]\npackages = ["os"]\nx = {"a" = "\U0001f600\x7f'
    made = write_project(a_folder(desk, licence=evil), "g", desk / "p")
    project = tomllib.loads((made.project / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["packages"] == ["guardeval_model_g"]
    assert project["project"]["license"]["text"].startswith('MIT"} [tool.setuptools]')
