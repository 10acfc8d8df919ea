"""logvar.compare, whole: what it returns and writes, resumes and refuses."""

import json
import shutil

import numpy as np
import optax
import pandas as pd
import pytest
from scipy import sparse

import logvar
from logvar import comparing
from logvar.data.conditions import Conditions, Told
from logvar.data.sources import load
from logvar.data.sparse import sparse_rows
from logvar.errors import LogvarError
from logvar.recipe import Recipe
from logvar.study.experiment import OWN, Experiment, members_that_fit, rows_of, units
from tests.study.untrained import untrained

DIGITS = load("digits").train[:240]
SMALL = {
    "scales": ["log-variance", "log-std"], "learning_rates": [1e-3, 1e-2], "seeds": 2,
    "latent_dim": 2, "network": "mlp(hidden=[8])", "epochs": 3, "batch_size": 40, "importance_samples": 3,
}  # fmt: skip


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a whole") / "comparison"
    return logvar.compare(DIGITS, out=folder, name="digits", **SMALL), folder


def test_one_row_per_model_and_the_columns_that_were_promised(whole):
    result, folder = whole
    runs = pd.read_csv(folder / "runs.csv")
    assert len(runs) == result.experiment.runs == 2 * 2 * 3 == len(result.runs.to_pandas())
    assert {"scale", "arm", "optimizer", "learning_rate", "seed", "test_elbo", "diverged"} <= set(
        runs
    )
    assert (
        runs[["test_elbo", "test_kl", "curvature", "gradient_noise", "gradient_share"]]
        .notna()
        .all()
        .all()
    )
    np.testing.assert_allclose(runs.test_elbo, result.runs["test_elbo"].to_numpy())
    verdicts = json.loads((folder / "verdicts.json").read_text())
    wanted = {
        "scale",
        "reference",
        "arm",
        "learning_rate",
        "n",
        "difference",
        "low",
        "high",
        "margin",
        "verdict",
    }
    assert all(wanted <= verdict.keys() for verdict in verdicts)
    # Two arms, at best rates and at each of two rates.
    assert len(verdicts) == 2 * 3
    report = (folder / "report.html").read_text()
    assert report.index("Verdicts") < report.index("Test ELBO against learning rate")
    assert not (folder / "parts").exists()


def test_a_comparison_resumes_on_another_machine_and_notes_it(tmp_path, monkeypatch):
    def kill(unit, epoch, training, runs):
        if epoch == 0:
            raise Killed

    few = SMALL | {"learning_rates": [1e-3], "arms": ["as is"]}
    folder, here = tmp_path / "comparison", comparing.environment()
    with pytest.raises(Killed):
        logvar.compare(DIGITS, out=folder, progress=kill, **few)
    monkeypatch.setattr(comparing, "environment", lambda: here | {"processor": "Other 9000"})
    result = logvar.compare(DIGITS, out=folder, **few)
    said = [note for note in result.notes if "Other 9000" in note]
    assert len(said) == 1 and f"begun with processor {here['processor']}, resumed" in said[0]
    assert said[0] in (folder / "report.html").read_text()
    stated = json.loads((folder / "experiment.json").read_text())
    assert stated["environments"] == [here, here | {"processor": "Other 9000"}]


def test_a_comparison_that_was_killed_goes_on_to_the_same_results(whole, tmp_path):
    folder = tmp_path / "comparison"
    trained = []

    def kill(unit, epoch, training, runs):
        if epoch == 0:
            trained.append(unit.name)
            if len(trained) == 4:
                raise Killed

    with pytest.raises(Killed):
        logvar.compare(DIGITS, out=folder, name="digits", progress=kill, **SMALL)
    assert not folder.exists()
    (tmp_path / ".comparison.unfinished" / "parts" / "junk.json.partial").write_text("{")
    with pytest.raises(logvar.LogvarError, match=r"other settings \(seeds differ\)"):
        logvar.compare(DIGITS, out=folder, name="digits", **(SMALL | {"seeds": 3}))
    epochs = []
    result = logvar.compare(
        DIGITS, out=folder, name="digits",
        progress=lambda unit, epoch, *rest: epochs.append(unit.name) if epoch else None, **SMALL,
    )  # fmt: skip
    assert result.notes == whole[0].notes
    assert len(set(epochs)) == 6 - 4, "what was trained is not trained again"
    for name in ("runs.csv", "curves.csv", "verdicts.json"):
        assert (folder / name).read_bytes() == (whole[1] / name).read_bytes(), name
    with pytest.raises(logvar.LogvarError, match="already exists"):
        logvar.compare(DIGITS, out=folder, name="digits", **SMALL)


def test_without_a_folder_nothing_is_written_and_the_verdicts_are_the_same(
    whole, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    few = SMALL | {"learning_rates": [1e-2]}
    result = logvar.compare(DIGITS, name="digits", **few)
    assert list(tmp_path.iterdir()) == []
    ours = [r["test_elbo"] for r in result.records]
    theirs = [
        r["test_elbo"] for r in whole[0].records
        if r["learning_rate"] == 1e-2
    ]  # fmt: skip
    assert ours == theirs
    assert "log-std beside log-variance, as is" in str(result)


def test_rows_for_training_choosing_and_reporting_are_disjoint():
    X = np.arange(200, dtype=np.float32)[:, None]
    for splits, test in ((1, None), (3, None), (2, X[150:])):
        chosen = Experiment(
            ("log-variance", "log-std"),
            (1e-3,),
            2,
            ("as is",),
            0.2,
            0.95,
            splits,
            0.25,
            0.1,
            5,
            Recipe(),
        )
        seen = []
        for number in range(splits):
            rows = rows_of(chosen, X[:150] if test is not None else X, test, number)
            parts = [set(part[:, 0].tolist()) for part in (rows.train, rows.validation, rows.test)]
            assert sum(map(len, parts)) == len(set.union(*parts)) == 200
            seen.append(frozenset(parts[2]))
        assert len(set(seen)) == splits


@pytest.mark.parametrize(("splits", "given"), [(1, False), (2, False), (1, True), (2, True)])
def test_each_row_keeps_what_the_models_are_told_of_it(splits, given):
    """Row i holds i, and so does its condition."""
    numbers = np.arange(200, dtype=np.float32)[:, None]
    X, test = (numbers[:150], numbers[150:]) if given else (numbers, None)
    told = Told(Conditions.of(np.arange(200.0)), X, test)
    chosen = Experiment(
        ("log-variance", "log-std"), (1e-3,), 2, ("as is",), 0.2, 0.95, splits, 0.25, 0.1, 5,
        Recipe(), told=told,
    )  # fmt: skip
    for number in range(splits):
        rows = rows_of(chosen, X, test, number)
        np.testing.assert_array_equal(rows.train, rows.told.rows)
        np.testing.assert_array_equal(rows.validation, rows.told.held_out)
        np.testing.assert_array_equal(rows.test, rows.told_of_test)
        matrix = sparse.csr_matrix(numbers + 1)
        some = [None if x is None else sparse_rows(matrix[x[:, 0].astype(int)]) for x in (X, test)]
        found = rows_of(chosen, *some, number)
        for part in ("train", "validation", "test"):
            np.testing.assert_array_equal(getattr(found, part).dense(), getattr(rows, part) + 1)


def test_conditions_and_sparse_counts_are_compared(tmp_path):
    """On sparse rows, as on their dense copies; the models are told what they are told in `fit`."""
    rng = np.random.default_rng(0)
    level = np.arange(120) % 2
    X = rng.poisson(np.where(level[:, None], [1.0, 9.0, 3.0], [9.0, 1.0, 3.0])).astype(np.float32)
    X[:, 2] += 1
    settings = SMALL | {
        "learning_rates": [1e-2], "arms": ["as is"], "likelihood": "poisson", "epochs": 4,
    }  # fmt: skip
    told = {"condition": np.array(["a", "b"])[level], "prior": "conditional"}
    dense, of_sparse, without = (
        logvar.compare(X, **settings, **told),
        logvar.compare(sparse.csr_matrix(X), **settings, **told, out=tmp_path / "sparse"),
        logvar.compare(X, **settings),
    )
    elbo = [np.array([r["test_elbo"] for r in c.records]) for c in (dense, of_sparse, without)]
    np.testing.assert_allclose(elbo[0], elbo[1], rtol=1e-5)
    assert (elbo[0] > elbo[2] + 0.3).all(), elbo
    content = json.loads((tmp_path / "sparse" / "experiment.json").read_text())
    assert len(content["data"]["condition_sha256"]) == 1 and "told" not in content
    with pytest.raises(LogvarError, match="condition has 119 rows: expected 120"):
        logvar.compare(X, **settings, condition=level[1:])


def test_a_fleet_is_split_where_memory_ends(monkeypatch):
    chosen = Experiment(
        ("log-variance", "log-std"), (1e-3,), 6, ("as is", "matched"), 0.2, 0.95, 1, 0.2, 0.1, 5,
        Recipe().replace(network="mlp(hidden=[8])"),
    )  # fmt: skip
    assert [len(unit.seeds) for unit in units(chosen, DIGITS, None)] == [6, 6, 6]
    at_once = members_that_fit(chosen, rows_of(chosen, DIGITS, None, 0))
    assert at_once > 16
    from logvar.study import experiment

    monkeypatch.setattr(experiment, "MEMORY", experiment.MEMORY * 4 / at_once)
    parts = [unit.seeds for unit in units(chosen, DIGITS, None)]
    assert {len(seeds) for seeds in parts} == {3} and len(parts) == 6


def test_a_scale_that_diverges_everywhere_is_reported_and_not_dropped():
    few = SMALL | {
        "scales": ["log-variance", "log-std"],
        "learning_rates": [1e8],
        "optimizer": "sgd",
    }
    result = logvar.compare(DIGITS, **few)
    assert len(result.records) == 6 and all(r["diverged"] for r in result.records)
    assert all(r["diverged_at_step"] > 0 and np.isnan(r["test_elbo"]) for r in result.records)
    assert {v.verdict for v in result.verdicts} == {"diverged"}
    assert "2 of 2 runs diverged against 2 of 2" in str(result)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 1}, "one run per scale cannot tell a difference from luck"),
        ({"scales": ["log-variance", "softpus"]}, "did you mean 'softplus'"),
        ({"learning_rate": 1e-3}, "compare sets learning_rate itself: give learning_rates instead"),
        ({"on_divergence": "rescue"}, "compare sets on_divergence itself: leave it out"),
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"optimizer": optax.sgd(1e-3)}, "compare takes optimizers and learning rates by name"),
        ({"test_data": np.zeros((5, 3))}, "test_data has examples of"),
        ({"prior": "conditional"}, "'conditional' depends on a condition, and this model is told"),
        ({"objective": "labelled"}, "'labelled', and its models learn no label: choose another"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, change, message):
    with pytest.raises(logvar.LogvarError, match=message):
        logvar.compare(DIGITS, out=tmp_path / "out", **(SMALL | change))
    assert list(tmp_path.iterdir()) == []


def test_too_few_rows_are_refused():
    with pytest.raises(logvar.LogvarError, match="too few to train, choose and report"):
        logvar.compare(DIGITS[:5], **SMALL)


def test_the_command_line_has_the_same_settings_and_defaults():
    from logvar.cli.arguments import ComparedSettings

    names = {field for field in ComparedSettings.__dataclass_fields__}
    # A schedule may give the shape of the learning rates that are compared.
    assert names == set(Recipe.settings()) - (set(OWN) - {"learning_rate"})
    assert (comparing.EPOCHS, comparing.PATIENCE) == (80, 10)


def test_the_command_compares_and_refuses(tmp_path, monkeypatch, capsys):
    import sys

    from logvar.cli import main as cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOGVAR_CACHE", "")
    monkeypatch.setattr(comparing, "run_unit", untrained)
    np.save("table.npy", np.random.default_rng(0).normal(size=(120, 4)))
    arguments = [
        "logvar", "compare", "table.npy", "--scales", "log-variance,clamped(log-std, low=-5, high=3)",
        "--learning-rates", "1e-2", "--seeds", "2", "--epochs", "2", "--network", "mlp(hidden=[8])", "--latent-dim", "2",
        "--arms", "as is", "--importance-samples", "2", "--out", "out",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", arguments)
    cli.main()
    shown = capsys.readouterr().out
    assert (
        "clamped(log-std, low=-5, high=3) beside log-variance, as is" in shown
        and "report  out/report.html" in shown
    )
    for change, message in (
        ([], "already holds a comparison"),
        (["--learning-rates", "1e-2;1", "--out", "other"], "--learning-rates is '1e-2;1'"),
        (["--seeds", "1", "--out", "other"], "one run per scale"),
    ):
        monkeypatch.setattr(sys, "argv", arguments + change)
        with pytest.raises(SystemExit) as caught:
            cli.main()
        error = capsys.readouterr().err
        assert caught.value.code == 2 and message in error and len(error.splitlines()) == 1
    shutil.rmtree("out")
    assert [path.name for path in tmp_path.iterdir()] == ["table.npy"]
