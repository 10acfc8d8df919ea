"""`logvar outliers`: scores, who is odd, why; a fit of its own or a run's model; wrong input."""

import functools
from pathlib import Path

import anndata
import numpy as np
import pytest
from PIL import Image

from logvar.cli import outliers as commands
from logvar.errors import LogvarError
from logvar.estimator import VAE
from logvar.explaining import OddCell
from logvar.loading import load
from logvar.outliers import OutlierVAE
from tests.cli.test_tables import logvar, read, rows_of_people, write

SMALL = {"latent_dim": 2, "network": "mlp(hidden=[8])", "epochs": 2, "steps": 0, "n_samples": 3}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table, and a detector that was fitted to it."""
    folder = tmp_path_factory.mktemp("outliers")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write("people.csv", rows_of_people())
        detector = OutlierVAE(**SMALL, contamination=0.2, schema={"key": "identifier"})
        detector.fit("people.csv", source="people.csv").save("run")
        yield detector


def test_it_fits_and_writes_who_is_odd(place, monkeypatch):
    def explained(vae, X, top, n_samples):
        return [[OddCell("plan", "gold", -4.1, 4.0)] for _ in range(60)]

    monkeypatch.setattr(VAE, "explain", explained)  # compiles for seconds, and has its own tests
    line = "outliers people.csv --out odd.csv --contamination 0.1 --steps 40 --explain"
    done = logvar(f"{line} --id key --importance-samples 3")
    assert done.code == 0, done.errors
    names, rows = read("odd.csv")
    assert names[:6] == ["key", "log_likelihood", "odd", "odd1", "odd1_value", "odd1_nats"]
    assert [row[0] for row in rows] == [f"p{i}" for i in range(60)]
    scores, odd = np.array([[float(row[1]), int(row[2])] for row in rows]).T
    assert odd.sum() == 6 and scores[odd == 1].max() < scores[odd == 0].min()
    assert "6 rows of 60 odd" in done.out and f"lowest: row {np.argmin(scores)} with" in done.out


def test_it_takes_a_runs_model_and_its_threshold(place):
    done = logvar("outliers people.csv --run run --out again.csv --importance-samples 3")
    assert done.code == 0, done.errors
    scores = np.array([float(row[1]) for row in read("again.csv")[1]])
    np.testing.assert_array_equal(scores, place.train_scores_)
    odd = np.array([row[2] == "1" for row in read("again.csv")[1]])
    np.testing.assert_array_equal(odd, scores < place.offset_)
    assert odd.sum() == 12 and "contamination 0.2" in done.out

    line = "outliers people.csv --run run --out again.npy --contamination 0.5"
    assert logvar(f"{line} --importance-samples 4").code == 0
    both = np.load("again.npy")
    np.testing.assert_array_equal(both[:, 0], place.score_samples("people.csv", 4))
    assert both[:, 1].sum() == 30


def test_a_threshold_is_not_of_scores_with_another_number_of_samples(place):
    """With fewer samples scores are lower: all rows would seem odder."""
    done = logvar("outliers people.csv --run run --out four.csv --importance-samples 4")
    assert "the threshold of run is of scores with 3 samples, and these are with 4" in done.out
    assert "12 rows of 60 odd" in done.out and "contamination 0.2" in done.out  # the run's share
    done = logvar("outliers people.csv --run run --out auto.csv --contamination auto")
    assert "contamination auto" in done.out  # asked for, so it is not the run's 0.2


def test_a_run_is_scored_with_its_own_number_of_samples(place):
    """Its threshold is one of scores with that number."""
    assert logvar("outliers people.csv --run run --out own.csv").code == 0
    scores = [float(row[1]) for row in read("own.csv")[1]]
    np.testing.assert_array_equal(scores, place.train_scores_)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(commands, "OutlierVAE", functools.partial(OutlierVAE, **SMALL))


def test_the_sources_own_test_rows_are_scored_too(place, quick, monkeypatch):
    pixels, seen = np.random.default_rng(0).integers(0, 256, (26, 4, 4), np.uint8), []
    for i, each in enumerate(pixels):
        path = Path("pictures", "train" if i < 20 else "test", f"{i:02}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(each).save(path)
    fit = OutlierVAE.fit
    monkeypatch.setattr(
        OutlierVAE, "fit", lambda self, X, **rest: fit(seen.append(self) or self, X, **rest)
    )
    done = logvar("outliers pictures --out pictures.csv --contamination 0.25")
    assert done.code == 0, done.errors
    names, rows = read("pictures.csv")
    assert names == ["file", "log_likelihood", "odd"] and "of 26 odd" in done.out
    assert [Path(row[0]).name for row in rows] == [f"{i:02}.png" for i in range(26)]
    scores, odd = np.array([[float(row[1]), int(row[2])] for row in rows]).T
    assert len(seen[0].train_scores_) == 20  # the threshold is that of the training rows
    np.testing.assert_array_equal(scores[:20], seen[0].train_scores_)
    np.testing.assert_array_equal(scores[20:], seen[0].score_samples(pixels[20:, ..., None]))
    np.testing.assert_array_equal(odd == 1, scores < seen[0].offset_)


def test_a_condition_of_cells_is_found_in_their_table(place, quick):
    counts = np.random.default_rng(0).poisson(3.0, (24, 4)).astype(np.float32) + 1
    cells = anndata.AnnData(counts)
    cells.obs["batch"] = list("ab" * 12)
    cells.write_h5ad("cells.h5ad")
    done = logvar("outliers cells.h5ad --condition batch --out cells.csv")
    assert done.code == 0, done.errors
    assert len(read("cells.csv")[1]) == 24


def test_every_flag_reaches_the_detector(place, monkeypatch):
    seen = {}

    def stopping(**settings):
        seen.update(settings)
        raise LogvarError("seen")

    monkeypatch.setattr(commands, "OutlierVAE", stopping)
    flags = "--steps 7 --objective 'trimmed(fraction=0.2)' --seed 5 --contamination 0.1"
    flags += " --importance-samples 9 --kind age=real --drop planned"
    done = logvar(f"outliers people.csv --out bad.csv {flags}")
    assert done.code == 2 and done.errors == "logvar: seen\n"
    assert seen == {
        "steps": 7, "objective": "trimmed(fraction=0.2)", "random_state": 5, "contamination": 0.1,
        "n_samples": 9, "schema": {"age": {"kind": "real"}, "planned": {"kind": "ignored"}},
    }  # fmt: skip


BAD = {
    "people.csv --out bad.csv --contamination 0": "--contamination is 0.0: expected 'auto', or a share",
    "people.csv --out bad.csv --contamination 0.6": "at most 0.5",
    "people.csv --out bad.csv --contamination half": "--contamination is 'half'",
    "people.csv --out bad.csv --run nothing": "nothing is not a folder",
    "people.csv --out bad.csv --run run --steps 5": "is already trained",
    "people.csv --out bad.csv --run run --seed 5": "is already trained",
    "people.csv --out bad.csv --run run --importance-samples 0": "--importance-samples is 0: expected at least 1",
    "people.csv --out bad.csv --importance-samples 0": "--importance-samples is 0: expected at least 1",
    "people.csv --out bad.csv --steps -1": "steps is -1",
    "people.csv --out bad.csv --objective trimed": "did you mean 'trimmed'",
    "people.csv --out people.csv": "is the data itself",
    "people.csv --out bad.xls": "ends in '.xls'",
    "people.csv --out bad.npy --explain": "--explain writes names and values",
    "nobody.csv --out bad.csv": "no file or folder nobody.csv",
}


@pytest.mark.parametrize(("line", "said"), BAD.items())
def test_wrong_input_is_one_line_and_writes_nothing(place, line, said):
    before = Path("people.csv").read_bytes()
    done = logvar(f"outliers {line}")
    assert done.code == 2 and said in done.errors
    assert done.errors.count("\n") == 1 and "Traceback" not in done.errors
    assert Path("people.csv").read_bytes() == before and not list(Path().glob("bad.*"))


def test_a_converted_run_is_a_detector_still(place):
    assert logvar("convert run --scale log-std --out converted").code == 0
    again = load("converted")
    assert isinstance(again, OutlierVAE) and again.offset_ == place.offset_
