"""`sample(where=…)`: rows that have the given cells, as those of `fit` came, and what is refused."""

import warnings

import numpy as np
import pandas as pd
import pytest

import logvar
from logvar import sampling
from logvar.cli.pairs import pairs_of
from logvar.errors import FewEffectiveSamples, LogvarError


def table(n=3000):
    """A level of 0.1 %, and a number and a level that depend on the level."""
    rng = np.random.default_rng(0)
    plan = rng.choice(["basic", "pro", "rare"], n, p=[0.6, 0.4, 0.0])
    plan[:3] = "rare"
    spent = np.select([plan == "basic", plan == "pro"], [0.0, 3.0], 6.0) + rng.normal(size=n)
    stays = rng.random(n) < np.where(plan == "basic", 0.9, 0.3)
    return pd.DataFrame(
        {
            "id": [f"case {i}" for i in range(n)],
            "plan": plan,
            "spent": spent,
            "stays": np.where(stays, "yes", "no"),
            "visits": rng.poisson(4, n),
            "joined": pd.Timestamp("2026-01-01")
            + pd.to_timedelta(rng.integers(0, 99, n), unit="D"),
        }
    )


@pytest.fixture(scope="module")
def vae():
    X = table()
    made = logvar.VAE(latent_dim=3, epochs=25, learning_rate=5e-3, network="mlp(hidden=[32])")
    return made.fit(X)


@pytest.fixture(scope="module")
def many(vae):
    return vae.sample(100_000, random_state=1)


def test_a_level_of_one_in_a_thousand_gets_its_rows(vae):
    found = vae.sampling(500, where={"plan": "rare"})
    assert len(found.rows) == 500 and (found.rows["plan"] == "rare").all()
    assert list(found.rows.columns) == list(table().columns)
    assert (found.rows.drop(columns="id").dtypes == table().drop(columns="id").dtypes).all()
    assert found.effective_samples > sampling.FEW
    assert np.exp(found.log_probability) < 0.02


@pytest.mark.parametrize(
    "where", [{"plan": "pro"}, {"stays": "no"}, {"plan": "basic", "stays": "no"}],
    ids=["pro", "no", "both"],
)  # fmt: skip
def test_given_cells_are_as_conditional_frequencies_of_samples(vae, many, where):
    """The joint of the other columns is that of unconditioned samples that happen to have them."""
    found = vae.sampling(4000, where=where, random_state=2)
    has = np.all([many[name] == value for name, value in where.items()], axis=0)
    those = many[has]
    for name, value in where.items():
        assert (found.rows[name] == value).all()
    assert np.exp(found.log_probability) == pytest.approx(has.mean(), rel=0.05)
    n = min(len(those), found.effective_samples)
    joint = [
        rows.assign(much=rows["spent"] > 1.5, often=rows["visits"] > 4)
        .groupby(["plan", "stays", "much", "often"]).size() / len(rows)
        for rows in (found.rows, those)
    ]  # fmt: skip
    both = pd.concat(joint, axis=1).fillna(0).to_numpy()
    error = np.sqrt(both[:, 1] * (1 - both[:, 1]) * (1 / n + 1 / 4000 + 1 / len(those)))
    assert (np.abs(both[:, 0] - both[:, 1]) < 4 * error + 2e-3).all()
    spread = those["spent"].std() * np.sqrt(1 / n + 1 / 4000)
    assert abs(found.rows["spent"].mean() - those["spent"].mean()) < 5 * spread


def test_numbers_counts_and_dates_are_given_as_they_are_or_as_texts(vae):
    day = pd.Timestamp("2026-02-03")
    given = {"spent": 2.25, "visits": 3, "joined": day}
    rows = vae.sample(20, where=given)
    assert all((rows[name] == value).all() for name, value in given.items())
    texts = vae.sample(20, where={"spent": "2.25", "visits": "3", "joined": "2026-02-03"})
    pd.testing.assert_frame_equal(rows, texts)


def test_other_cells_may_be_left_out_as_in_the_training_rows(tmp_path):
    rng = np.random.default_rng(0)
    a = rng.choice(["x", "y"], 300).astype(object)
    a[::3] = None
    X = {"a": a.tolist(), "b": rng.normal(size=300).tolist()}
    vae = logvar.VAE(latent_dim=2, epochs=2, network="mlp(hidden=[8])").fit(X)
    rows = vae.sample(200, where={"b": 0.5}, missing=True)
    assert 30 < sum(cell is None for cell in rows["a"]) < 110 and set(rows["b"]) == {0.5}
    again = logvar.load(vae.save(tmp_path / "run")).sample(200, where={"b": 0.5}, missing=True)
    assert again == rows


def test_few_effective_samples_are_warned_of(vae, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FewEffectiveSamples)
        vae.sample(5, where={"plan": "pro"})
    monkeypatch.setattr(sampling, "FEW", 1e9)
    with pytest.warns(FewEffectiveSamples, match="effective samples of 4,096 draws of z"):
        vae.sample(5, where={"plan": "pro"})


@pytest.fixture(scope="module")
def told():
    """A model that is told the batch, on which a level and a number depend."""
    rng = np.random.default_rng(0)
    batch = rng.choice(["a", "b"], 1500)
    long = rng.random(1500) < np.where(batch == "a", 0.2, 0.6)
    size = np.where(long, 4.0, 0.0) + np.where(batch == "a", 0.0, 8.0) + rng.normal(size=1500)
    X = pd.DataFrame({"batch": batch, "kind": np.where(long, "long", "short"), "size": size})
    vae = logvar.VAE(
        latent_dim=2, epochs=25, learning_rate=0.01, network="mlp(hidden=[16])", prior="conditional"
    )
    return vae.fit(X, condition="batch"), X


@pytest.mark.parametrize("batch", ["a", "b"])
def test_cells_are_given_beside_a_condition(told, batch):
    """p(x | cells, condition): as samples of that condition which happen to have the cells."""
    vae, X = told
    found = vae.sampling(2000, where={"kind": "long"}, condition={"batch": batch})
    assert (found.rows["kind"] == "long").all() and (found.rows["batch"] == batch).all()
    many = vae.sample(20_000, condition={"batch": batch}, random_state=3)
    those = many[many["kind"] == "long"]
    assert np.exp(found.log_probability) == pytest.approx(len(those) / 20_000, rel=0.1)
    spread = those["size"].std() * np.sqrt(1 / found.effective_samples + 1 / 2000 + 1 / len(those))
    assert abs(found.rows["size"].mean() - those["size"].mean()) < 5 * spread
    of_data = X[(X["batch"] == batch) & (X["kind"] == "long")]["size"]
    assert abs(found.rows["size"].mean() - of_data.mean()) < 1  # the batches are 8 apart


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"where": {"kind": "long"}}, r"--condition \"batch=…\""),
        ({"where": {"batch": "a"}, "condition": {"batch": "a"}}, "give it as condition"),
        ({"where": {"kind": "long"}, "condition": {"batch": "c"}}, "'c' .*which the model never saw"),
    ],
)  # fmt: skip
def test_a_condition_beside_cells_is_asked_for(told, given, message):
    with pytest.raises(LogvarError, match=message):
        told[0].sample(3, **given)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"plann": "pro"}, "unknown column 'plann': did you mean 'plan'"),
        ({"plan": "Pro"}, "column 'plan' has no level 'Pro': did you mean 'pro'"),
        ({"id": "case 3"}, "column 'id' is not modelled .identifier."),
        ({"visits": ">4"}, "ranges are not supported"),
        ({"visits": "2..4"}, "ranges are not supported"),
        ({"plan": ["pro", "basic"]}, "expected one value"),
        ({"visits": -1}, "column 'visits' is -1: expected a whole number of at least 0"),
        ({"spent": "much"}, "column 'spent' has kind real, but holds 'much'"),
        ({"plan": None}, "'plan' is given as a missing cell"),
        ({}, "expected a dict from names of columns to values"),
        ("plan=pro", "expected a dict from names of columns to values"),
    ],
)
def test_what_is_no_cell_is_refused_in_one_line(vae, where, message):
    with pytest.raises(LogvarError, match=message) as refused:
        vae.sample(3, where=where)
    assert "\n" not in str(refused.value)


def test_an_array_has_no_columns_to_name():
    X = np.random.default_rng(0).normal(size=(60, 3))
    vae = logvar.VAE(latent_dim=2, epochs=1, network="mlp(hidden=[4])").fit(X)
    with pytest.raises(LogvarError, match="where names columns, and this model was fitted on an"):
        vae.sample(3, where={0: 1.0})


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=1", {"a": "1"}),
        (" a b = c d ,e=f=g", {"a b": "c d", "e": "f=g"}),
        ('"x, y=z"="he said ""no"", twice", b=', {"x, y=z": 'he said "no", twice', "b": ""}),
        ("name=O'Brien", {"name": "O'Brien"}),
    ],
)
def test_the_command_line_s_text(text, pairs):
    assert pairs_of(text) == pairs


@pytest.mark.parametrize("text", ["", "a", "a=1,b", "a=1, a=2", "=1", 'a="b'])
def test_a_text_that_is_no_pairs_is_refused(text):
    with pytest.raises(LogvarError, match="--where"):
        pairs_of(text)
