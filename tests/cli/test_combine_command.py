"""``guardeval combine``, and several models in one run."""

from __future__ import annotations

import json

import pytest
import yaml

from guardeval.testing.faults import FaultServer


@pytest.fixture
def members(guard_run):
    return [guard_run("--model", f"embedded/{name}") for name in ("word", "char", "nb")]


def folder_of(said):
    return said.out.rpartition("run folder: ")[2].strip()


def test_finished_runs_are_combined_without_asking(cli, members, results_of, desk):
    said = cli("combine", *members, "-S", "vote=any", "-o", "joint")
    assert said.code == 0, said.err
    (run,) = (desk / "joint").iterdir()
    results = results_of(run)
    assert results["usage"]["asked"] == 0
    assert [m["name"] for m in results["config"]["members"]] == ["embedded/word", "embedded/char", "embedded/nb"]
    assert any("no model was asked" in n for n in results["notices"])
    assert cli("report", run).code == cli("compare", members[0], run).code == cli("score", run).code == 0


def test_an_ensemble_is_one_run_of_all_models_and_can_be_repeated_from_its_record(cli, desk, results_of):
    models = [w for name in ("word", "char", "nb") for w in ("--model", f"embedded/{name}")]
    said = cli(
        "run", "--task", "wildguard", "--data", "sample", "--no_cache", "--solver", "ensemble", *models, "-o", "live", "--quiet"
    )
    assert said.code == 0, said.err
    assert "not run" not in said.err
    (run,) = (desk / "live").iterdir()
    assert cli("run", "--config", run / "run.yaml", "-o", "again", "--quiet").code == 0
    (again,) = (desk / "again").iterdir()
    one, two = (results_of(r)["results"]["wildguard"] for r in (run, again))
    assert one["f1,strict"] == two["f1,strict"]


def test_members_with_solvers_of_their_own_stand_in_a_config_file(cli, desk, results_of):
    config = {
        "task": "wildguard", "data": "sample", "solver": "ensemble", "solver_args": {"inner": {"solver": "multistep", "skip": ["intent"]}},
        "model": ["embedded/word", {"name": "embedded/word", "solver": "singlestep", "solver_args": {"temperature": 0.8}}],
        "output_path": "mixed",
    }  # fmt: skip
    (desk / "mixed.yaml").write_text(yaml.safe_dump(config))
    assert cli("run", "--config", "mixed.yaml", "--quiet").code == 0
    (run,) = (desk / "mixed").iterdir()
    found = results_of(run)["config"]
    assert found["solver_label"] == "ensemble inner=(multistep skip=intent)"
    assert found["members"][1]["solver_label"] == "singlestep temperature=0.8"
    assert len({m["name"] for m in found["members"]}) == 2


def test_a_dry_run_counts_what_all_members_would_be_asked(cli):
    said = cli("run", "--task", "wildguard", "--data", "sample", "--solver", "ensemble", "--model", "embedded/word", "--model", "embedded/nb",
               "--dry_run")  # fmt: skip
    assert said.code == 0
    assert " 112 " in said.out  # 56 samples, two members


def test_weights_are_fitted_on_one_half_and_vote_on_the_other(cli, members, desk, results_of):
    said = cli("combine", *members, "--fit", "w.json", "-o", "weighted")
    assert said.code == 0, said.err
    fitted = json.loads((desk / "w.json").read_bytes())
    (run,) = (desk / "weighted").iterdir()
    assert results_of(run)["results"]["wildguard"]["sample_len"] + len(fitted["samples"]) == 56
    assert not any("fitted on" in n for n in results_of(run)["notices"])


def test_a_grid_is_a_table_and_a_file(cli, members, desk):
    said = cli("combine", *members, "--grid", "--output", "grid.json")
    assert said.code == 0, said.err
    assert "majority of embedded/word + embedded/char + embedded/nb" in said.out
    systems = json.loads((desk / "grid.json").read_bytes())["systems"]
    assert {s["solver"] for s in systems} == {None, "ensemble", "cascade"}
    assert cli("combine", *members, "--grid", "--output", "grid.md").code == 0
    assert cli("combine", *members, "--grid", "--output", "grid.svg").code == 0
    assert (desk / "grid_latency.svg").read_text().lstrip().startswith("<")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-S", "vote=most"], "one of majority, mean, weighted, any, all is wanted"),
        (["-S", "votes=any"], "did you mean 'vote'"),
        (["--solver", "direct"], "ensemble and cascade do"),
        (["--grid", "-S", "vote=any"], "leave -S and --fit out"),
        (["--grid", "--output", "grid.png"], "a file named .md, .json or .svg is wanted"),
        (["--output", "x.md"], "--output goes with --grid"),
        (["--fit", "w.json", "-S", "vote=any"], "leave other votes out"),
        (["--fit", "w.json", "--share", "1"], "a share between 0 and 1 is wanted"),
        (["--task", "wildguards"], "did you mean 'wildguard'"),
        (["-S", "vote=weighted", "-S", "weights=none.json"], "no such file"),
    ],
)
def test_wrong_use_is_explained(cli, members, words, message):
    said = cli("combine", *members, *words)
    assert said.code == 2
    assert message in said.err


def test_several_models_and_a_solver_that_asks_one_make_a_run_each(cli, desk):
    said = cli(
        "run",
        "--task",
        "wildguard",
        "--data",
        "sample",
        "--model",
        "embedded/word",
        "--model",
        "embedded/nb",
        "-o",
        "each",
        "--quiet",
    )
    assert said.code == 0
    assert len(list((desk / "each").iterdir())) == 2


def test_an_inner_solver_that_is_none_is_named(cli):
    base = ["run", "--task", "wildguard", "--data", "sample", "--solver", "ensemble"]
    assert "did you mean 'multistep'" in cli(*base, "-S", "inner=multistp").err
    assert "has no option 'skipp'" in cli(*base, "-S", "inner=multistep", "-S", "inner.skipp=intent").err
    assert "holds no solver" in cli(*base, "-S", "vote.x=1").err
    assert "two models or more are wanted" in cli("run", "--task", "wildguard", "--data", "sample", "--solver", "cascade").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--share", "0.3"), "--share goes with --fit"),
        (("--seed", "1"), "--seed goes with --fit"),
        (("-S", "inner=multistep"), "no model is asked here"),
        (("--solver", "cascade", "-S", "inner.skip=intent"), "no model is asked here"),
        (("--fit", "weights.json", "--share", "0.9999"), "none is left to vote on"),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(cli, members, desk, words, message):
    said = cli("combine", *members, *words, "-o", "joint")
    assert said.code == 2
    assert message in said.err
    assert not (desk / "joint").exists()
    assert not (desk / "weights.json").exists()


def test_a_run_does_not_vote_twice(cli, members):
    said = cli("combine", members[0], members[1], f"{members[0]}/")
    assert said.code == 2
    assert "is named twice" in said.err


def test_a_member_that_is_never_heard_makes_the_run_provisional(cli, desk, results_of):
    def refuse(_):
        return {"error": {"message": "no words for this"}}

    with FaultServer(refuse) as server:
        guards = ["--model", "embedded/word", "--model", "openai_compatible/mute", "-M", f"base_url={server.url}"]
        said = cli(
            "run",
            "--task",
            "wildguard",
            "--data",
            "sample",
            "--limit",
            3,
            "--no_cache",
            "--solver",
            "ensemble",
            *guards,
            "-o",
            "e",
        )
    assert said.code == 3, said.err
    (run,) = (desk / "e").iterdir()
    assert "provisional" in results_of(run)["configs"]["wildguard"]["marks"]
    assert "3 samples lack votes that were never heard (openai_compatible/mute 3)" in said.out
    assert "no words for this" in said.out


def test_an_ensemble_of_ensembles_is_combined_again_not_asked(cli, members, desk):
    assert cli("combine", *members, "-o", "inner").code == 0
    (inner,) = (desk / "inner").iterdir()
    assert cli("combine", inner, members[0], "-o", "outer").code == 0
    (outer,) = (desk / "outer").iterdir()
    said = cli("run", "--config", outer / "run.yaml", "-o", "live")
    assert said.code == 2
    assert f"guardeval combine {inner} {members[0]} makes it again" in said.err
