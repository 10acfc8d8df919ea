"""A label on the command line: learned, predicted, sampled."""

import csv
import re

import numpy as np
import pytest

from logvar.cli import fitting
from logvar.cli.labels import label_in
from logvar.errors import LogvarError
from logvar.estimator import VAE
from tests.cli.test_tables import logvar, read

QUICK = (
    "--epochs 40 --latent-dim 1 --network 'mlp(hidden=[8])' --learning-rate 0.02 --batch-size 20 "
    "--importance-samples 3"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table, half of whose labels are missing, and a run that was fitted on it."""
    folder = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(0)
    level = rng.integers(0, 2, 80)
    with open(folder / "trees.csv", "w", newline="") as file:
        rows = [
            [f"t{i}", f"{rng.normal(9 * n, 1):.3f}", f"{rng.normal(-5 * n, 1):.3f}",
             "" if i % 2 else ("ash", "old oak")[n], "same"]
            for i, n in enumerate(level)
        ]  # fmt: skip
        csv.writer(file).writerows([["name", "height", "width", "kind", "one"], *rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(fitting, "write_report", lambda *arguments: None)  # has tests of its own
        done = logvar(
            f"fit trees.csv --id name --label kind --drop one --objective labelled {QUICK} --out run"
        )
        assert done.code == 0, done.errors
        yield level


def test_predictions_stand_beside_the_identifiers(place):
    done = logvar("predict run trees.csv --out labels.csv")
    assert done.code == 0 and "80 rows" in done.out, done.errors
    names, rows = read("labels.csv")
    assert names == ["name", "p(ash)", "p(old oak)", "kind"]
    assert [row[0] for row in rows] == [f"t{i}" for i in range(80)]
    np.testing.assert_allclose(np.array([row[1:3] for row in rows], float).sum(1), 1)
    right = np.mean([(row[3] == "old oak") == bool(n) for row, n in zip(rows, place, strict=True)])
    assert right > 0.9


def test_samples_are_of_the_label_that_is_asked_for(place):
    done = logvar("sample run --n 30 --label 'old oak' --out oaks.csv")
    assert done.code == 0, done.errors
    names, rows = read("oaks.csv")
    assert {row[names.index("kind")] for row in rows} == {"old oak"}
    assert np.mean([float(row[names.index("height")]) for row in rows]) > 5
    assert logvar("sample run --n 30 --out both.csv").code == 0
    assert {row[names.index("kind")] for row in read("both.csv")[1]} == {"ash", "old oak"}


def test_a_run_with_a_label_is_judged_like_any_other(place):
    with open("trees.csv") as file, open("others.csv", "w") as others:
        others.writelines(file.readlines()[:-1])  # not the run's own data: all rows are judged
    judged = logvar("evaluate run others.csv --importance-samples 3").out
    assert "p(y, z)" in judged
    found = re.search(r"accuracy (\S+) ± (\S+) .* 40 labelled rows", " ".join(judged.split()))
    assert logvar("predict run others.csv --out judged.csv").code == 0
    told = ("ash", "old oak")
    right = [row[3] == told[n] for row, n in zip(read("judged.csv")[1], place[:79], strict=True)]
    right = np.array(right[::2])  # the others have no label
    assert float(found[1]) == pytest.approx(right.mean(), abs=1e-4)
    assert float(found[2]) == pytest.approx(right.std(ddof=1) / np.sqrt(40), abs=1e-4)
    assert "ending" in logvar("doctor run").out
    assert logvar("score run trees.csv --importance-samples 3 --out scores.csv").code == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sample run --label elm --out x.csv", "'elm' is no label of this run: expected one of ash"),
        ("fit trees.csv --objective labelled --out no", "none of X's columns is a label"),
        ("fit trees.csv --label one --objective labelled --out no", "label 'one' has one class, 'same'"),
        ("fit trees.csv --label kind --objective iwae --out run --resume", "another run"),
    ],
)  # fmt: skip
def test_invalid_input_is_one_line(line, message):
    done = logvar(line)
    assert done.code == 2 and message in done.errors and len(done.errors.splitlines()) == 1


def test_a_run_without_a_label_says_how_to_get_one():
    with pytest.raises(LogvarError, match="fit it again with --label NAME --objective labelled"):
        label_in(VAE(), "ash")
