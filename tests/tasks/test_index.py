"""Task names: where they come from, how they are chosen, and that nothing is skipped or overridden on the quiet."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from guardeval.data import Target
from guardeval.errors import ConfigError
from guardeval.registry import Registry
from guardeval.task import TaskIndex
from guardeval.task_entries import locate_module, locate_package

TASK = "# {0}.yaml - about {0}\ntask: {0}\ntag: [one, two]\nmetadata: {{version: 1, target: prompt_harmfulness, hub: none}}\n"
GROUP = "group: {}\ntask: [{}]\nmetadata: {{version: 1, target: prompt_harmfulness}}\n"


def test_listing_reads_names_kinds_tags_and_titles_without_loading(folder):
    folder.write("a.yaml", TASK.format("a"))
    folder.write(
        "deep/b.yaml", "task: 'b'  # the second\ntask_alias: Bee\ntag:\n  - two\n  - three\nmetadata: {nothing: valid}\n"
    )
    folder.write("g.yaml", "group: g\ntask:\n  - a\n  - b\n")
    folder.write("_shared.yaml", "metadata: {}\n")
    entries = folder.index().entries()
    assert {n: e.kind for n, e in entries.items()} == {
        "a": "task",
        "b": "task",
        "g": "group",
        "one": "tag",
        "two": "tag",
        "three": "tag",
    }
    assert entries["a"].tags == ("one", "two")
    assert (entries["a"].title, entries["b"].title) == ("about a", "Bee")
    assert entries["b"].tags == ("two", "three")


def test_listing_what_is_installed_imports_no_plugin_and_nothing_heavy():
    code = (
        "import sys; from guardeval.task import TaskIndex; assert 'wildguard' in TaskIndex().entries();"
        "bad = {'numpy', 'datasets', 'pyarrow', 'torch', 'aiohttp', 'openai', 'guardeval.tasks'} & set(sys.modules);"
        "print(sorted(bad)); sys.exit(bool(bad))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_packages_are_located_without_being_imported(tmp_path, monkeypatch):
    inner = tmp_path / "bang_pkg" / "tasks"
    inner.mkdir(parents=True)
    (tmp_path / "bang_pkg" / "__init__.py").write_text("raise RuntimeError('imported')")
    (inner / "__init__.py").write_text("raise RuntimeError('imported')")
    (inner / "theirs.yaml").write_text(TASK.format("theirs"))
    monkeypatch.syspath_prepend(tmp_path)
    assert locate_package("bang_pkg.tasks") == (str(inner),)
    assert locate_package("bang_pkg.nothing") == ()
    registry = Registry([EntryPoint("theirs", "bang_pkg.tasks", "guardeval.tasks")])
    assert TaskIndex((), registry).entries()["theirs"].owner == "bang_pkg.tasks"


def test_what_is_wrong_in_installed_packages_is_told_and_keeps_nobody_from_the_others(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    files = {
        "pkg_one/good.yaml": TASK.format("good"),
        "pkg_one/shared.yaml": TASK.format("shared"),
        "pkg_two/shared.yaml": TASK.format("shared"),
        "pkg_two/none.yaml": "just: this\n",
        "pkg_two/tagged.yaml": "task: tagged\ntag: good\n",
        "pkg_new/__init__.py": "contract_version = 99\n",
        "pkg_new/later.yaml": TASK.format("later"),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    packages = ("pkg_one", "pkg_two", "pkg_new", "gone_package.tasks", "no package!")
    registry = Registry([EntryPoint(p[:7], p, "guardeval.tasks") for p in packages])
    index = TaskIndex((), registry)
    assert index.select("good").names == ("good",)
    assert [t.name for t in index.loadable()] == ["good"]
    for name, said in {
        "shared": "task 'shared' stands in two files: .*pkg_one.*pkg_two.*uninstall one of them",
        "later": "tasks 'pkg_new' of pkg_new was written for version 99 .*upgrade guardeval",
        "nothing": "unknown task 'nothing'.*6 installed task files or packages cannot be used",
    }.items():
        with pytest.raises(ConfigError, match=said):
            index.load(name)
    told = "\n".join(index.problems)
    assert len(index.problems) == 6
    for part in ("no package 'gone_package.tasks'", "no package 'no package!'", "none.yaml (pkg_two): has no line", "'shared' stands in",
                 "the tag 'good' is also the name of a task", "version 99"):  # fmt: skip
        assert part in told


def test_a_name_that_stands_in_two_files_is_an_error_naming_both(folder, tmp_path):
    folder.write("a.yaml", TASK.format("a"))
    folder.write("b/again.yaml", TASK.format("a"))
    with pytest.raises(ConfigError, match=r"task 'a' stands in two files: .*a\.yaml.*again\.yaml.*rename one"):
        folder.index().entries()


def test_a_folder_that_was_named_cannot_override_a_built_in_task_on_the_quiet(folder):
    folder.write("mine.yaml", TASK.format("wildguard"))
    with pytest.raises(ConfigError, match=r"task 'wildguard' stands in two files: .*guardeval 0.*mine\.yaml"):
        TaskIndex([folder.path]).entries()


def test_naming_a_folder_twice_or_the_built_in_one_again_is_no_clash(folder):
    folder.write("a.yaml", TASK.format("a"))
    built_in = TaskIndex().entries()["wildguard"].path
    assert "a" in TaskIndex([folder.path, folder.path / "a.yaml", built_in.parent]).entries()


def test_a_tag_with_a_groups_name_is_refused_since_it_would_hide_the_group_in_lm_eval(folder):
    folder.write("a.yaml", TASK.format("a"))
    folder.write("g.yaml", GROUP.format("one", "a"))
    with pytest.raises(ConfigError, match="the tag 'one' is also the name of a group"):
        folder.index().entries()


@pytest.mark.parametrize("text", ["just: this\n", "", "  task: indented\n"])
def test_a_file_that_is_neither_task_nor_group_is_an_error(folder, text):
    folder.write("odd.yaml", text)
    with pytest.raises(ConfigError, match=r"odd\.yaml.*has no line `task: NAME` or `group: NAME`"):
        folder.index().entries()


@pytest.mark.parametrize("name", ["../out", "a/b", "a b", "a,b", "a*", ".a", "x" * 101, "a\u202eb"])
def test_a_name_that_could_not_be_part_of_a_file_name_is_refused(folder, name):
    folder.write("mine.yaml", f"task: '{name}'\n")
    with pytest.raises(ConfigError, match=r"mine.yaml:1 .* is no name of a task: it becomes part of file names"):
        folder.index().entries()


def test_run_folders_and_model_folders_beside_tasks_are_no_tasks(folder):
    folder.write("mine.yaml", "task: mine\n")
    folder.write("runs/2026/run.yaml", "task: [mine]\nrecord: {}\n")
    folder.write("guard/guardeval-model.yaml", "backend: embedded\n")
    assert list(folder.index().entries()) == ["mine"]


def test_modules_are_located_without_being_imported(tmp_path, monkeypatch):
    (tmp_path / "some_lonely_module.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(tmp_path)
    assert locate_module("some_lonely_module") == tmp_path / "some_lonely_module.py"
    assert locate_module("guardeval.solvers.direct").name == "direct.py"
    assert locate_module("guardeval.nothing") is locate_module("no_such_package.at.all") is None


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"--include_path .*nowhere: there is no such folder or file"):
        TaskIndex([tmp_path / "nowhere"]).entries()


def test_tasks_are_chosen_by_name_group_tag_glob_and_path(folder):
    for name in ("a1", "a2", "b"):
        folder.write(f"{name}.yaml", TASK.format(name))
    folder.write("g.yaml", GROUP.format("g", "b, a1"))
    folder.write("gg.yaml", GROUP.format("gg", "g, a2"))
    index = folder.index()
    assert index.select("a2,b").names == ("a2", "b")
    assert index.select(["b", "a*", "b"]).names == ("b", "a1", "a2")
    assert index.select("g").names == ("b", "a1")
    assert [g.name for g in index.select("g, a2").groups] == ["g"]
    assert index.select("gg").names == ("b", "a1", "a2")
    assert index.select("two").names == ("a1", "a2", "b")
    assert index.select(str(folder.path / "a1.yaml")).names == ("a1",)
    assert index.load("a1") is index.load("a1")


def test_a_selection_can_be_narrowed_to_some_tasks(folder):
    for name in ("a", "b", "c"):
        folder.write(f"{name}.yaml", TASK.format(name))
    folder.write("g.yaml", GROUP.format("g", "a, b"))
    selection = folder.index().select("g,c")
    kept = selection.only([t for t in selection.tasks if t.name == "b"])
    assert (kept.names, kept.groups[0].tasks) == (("b",), ("b",))
    assert selection.only([t for t in selection.tasks if t.name == "c"]).groups == ()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("wildgard", r"unknown task 'wildgard'; did you mean 'wildguard'\?"),
        ("", "no task is named"),
        ("zz*", r"no task or group matches 'zz\*'"),
    ],
)
def test_a_name_that_nothing_has_is_answered_with_the_nearest(wanted, message):
    with pytest.raises(ConfigError, match=message):
        TaskIndex().select(wanted)


def test_groups_say_what_is_wrong_with_them(folder):
    folder.write("a.yaml", TASK.format("a"))
    folder.write("g.yaml", GROUP.format("g", "a, nothing"))
    with pytest.raises(ConfigError, match=r"g\.yaml: the group names an unknown task 'nothing'"):
        folder.index().select("g")
    folder.write("g.yaml", GROUP.format("g", "a, g"))
    with pytest.raises(ConfigError, match="a group holds itself: g → g"):
        folder.index().select("g")
    folder.write("g.yaml", "group: g\ntask: [a]\nmetadata: {version: 1, target: refusal}\n")
    with pytest.raises(ConfigError, match="the group asks refusal, and its task 'a' asks prompt_harmfulness"):
        folder.index().select("g")
    folder.write("g.yaml", "group: g\ntask: [a]\nmetadata: {version: 1, paper_sizes: {b: 3}}\n")
    with pytest.raises(ConfigError, match="paper_sizes names 'b', which is not in the group"):
        folder.index().select("g")


def test_the_group_of_guardreasoner_has_its_published_sizes():
    selection = TaskIndex().select("guard_prompt")
    group = selection.groups[0]
    assert group.target is Target.PROMPT
    assert set(group.paper_sizes) == set(group.tasks) == set(selection.names)
    assert sum(group.paper_sizes.values()) == 2853 + 1680 + 359 + 100 + 239 + 1756


def test_includes_merge_metadata_key_by_key_and_local_keys_win(folder):
    folder.write("_base.yaml", "include: _deeper.yaml\ntest_split: test\nmetadata: {license: mit, version: 1, citation: C}\n")
    folder.write(
        "_deeper.yaml",
        "dataset_path: a/b\ntest_split: train\nmetadata: {target: refusal, citation: D, shapes: {x: 'not this'}}\n",
    )
    task = folder.task("include: _base.yaml\ntask: t\nmetadata: {version: 2, shapes: {y: 'not that'}}\n", "t")
    assert (task.split, task.dataset_path, task.version, task.licence, task.citation) == ("test", "a/b", "2", "mit", "C")
    assert [s.name for s in task.shapes] == ["upstream", "x", "y"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("include: t.yaml\ntask: t\n", r"include cycle: t\.yaml → t\.yaml"),
        ("include: _b.yaml\ntask: t\n", r"include cycle: t\.yaml → _b\.yaml → t\.yaml"),
        ("include: nothing.yaml\ntask: t\n", r"t\.yaml:1: include 'nothing\.yaml': there is no file"),
        ("task: t\nclass: !function a.B\n", r"t\.yaml:2: `class` is not supported"),
        ("task: t\nmetadata: &a\n  x: *a\n", "not valid YAML|unknown key"),
    ],
)
def test_includes_that_cannot_work_are_errors(folder, text, message):
    folder.write("_b.yaml", "include: t.yaml\n")
    with pytest.raises(ConfigError, match=message):
        folder.task(text, "t")


def test_a_few_lines_of_aliases_do_not_take_for_ever(folder):
    bomb = "\n".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]" if i else "x0: &x0 [1]" for i in range(30))
    with pytest.raises(ConfigError, match="unknown key 'x0'"):
        folder.task(f"task: t\n{bomb}\n", "t")


def test_yaml_cannot_make_python_objects(folder):
    with pytest.raises(ConfigError, match="not valid YAML"):
        folder.task("task: t\nmetadata: !!python/object/apply:os.system ['true']\n", "t")


def test_every_built_in_yaml_is_found(request):
    folder = Path(str(request.config.rootpath)) / "tasks"
    names = {p.stem for p in folder.glob("*.yaml") if not p.name.startswith("_")}
    entries = TaskIndex().entries()
    assert names == {n for n, e in entries.items() if e.kind != "tag" and e.package == "guardeval.tasks"}
