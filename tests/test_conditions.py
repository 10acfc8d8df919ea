"""Conditions as people have them: given beside X or in its columns, at every call, saved and drawn."""

import numpy as np
import pandas as pd
import pytest

import logvar
from logvar.data.conditions import Conditions

RNG = np.random.default_rng(0)
N = 240
BATCH = RNG.choice(["a", "b"], N)
DOSE = RNG.uniform(-1, 1, N)
X = RNG.normal(size=(N, 3))
X[:, 0] += np.where(BATCH == "b", 4.0, 0.0)
X[:, 1] += 3 * DOSE
TOLD = {"batch": BATCH, "dose": DOSE}
SETTINGS = {"latent_dim": 2, "network": "mlp(hidden=[32])", "learning_rate": 0.01, "batch_size": 40}


@pytest.fixture(scope="module")
def vae():
    return logvar.VAE(**SETTINGS, epochs=80, patience=0).fit(X, condition=TOLD)


def test_known_effects_are_recovered(vae):
    """A shift of 4 between the batches, and a slope of 3 in the dose."""
    draws = {
        (batch, dose): vae.sample(3000, condition={"batch": batch, "dose": dose})
        for batch in ("a", "b")
        for dose in (-0.5, 0.5)
    }
    means = {key: drawn.mean(0) for key, drawn in draws.items()}
    # 240 rows: the standard error of a shift is 0.13, of a slope 0.11; three of them.
    for dose in (-0.5, 0.5):
        shift = means["b", dose] - means["a", dose]
        np.testing.assert_allclose(shift, [4, 0, 0], atol=0.5)
    for batch in ("a", "b"):
        slope = means[batch, 0.5] - means[batch, -0.5]
        np.testing.assert_allclose(slope, [0, 3, 0], atol=0.5)


def test_one_row_for_each_draw_and_one_for_all_are_the_same(vae):
    one = vae.sample(5, condition={"batch": "b", "dose": 0.25})
    each = vae.sample(5, condition=pd.DataFrame({"dose": [0.25] * 5, "batch": ["b"] * 5}))
    np.testing.assert_array_equal(one, each)


CALLS = {
    "transform": lambda vae, **c: vae.transform(X, **c),
    "posterior": lambda vae, **c: vae.posterior(X, **c).mean,
    "reconstruct": lambda vae, **c: vae.reconstruct(X, **c),
    "elbo": lambda vae, **c: vae.elbo(X, **c),
    "score": lambda vae, **c: vae.score(X, **c),
    "score_samples": lambda vae, **c: vae.score_samples(X, 3, **c),
    "score_cells": lambda vae, **c: vae.score_cells(X, 3, **c),
    "explain": lambda vae, **c: [[cell.surprise for cell in row] for row in vae.explain(X, 1, 3, **c)],
    "evaluate": lambda vae, **c: vae.evaluate(X, n_importance=3, **c)["elbo"].value,
    "impute": lambda vae, **c: vae.impute(np.where(X > 2, np.nan, X), 20, **c),
    "inverse_transform": lambda vae, **c: vae.inverse_transform(np.zeros((N, 2)), **c),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_every_call_takes_it_and_depends_on_it(name, vae):
    call = CALLS[name]
    swapped = TOLD | {"batch": np.where(BATCH == "a", "b", "a")}
    assert np.any(np.asarray(call(vae, condition=TOLD)) != np.asarray(call(vae, condition=swapped)))
    with pytest.raises(
        logvar.LogvarError, match=r"with a condition, batch \(a, b\), dose \(number"
    ):
        call(vae)


def test_it_is_saved(vae, tmp_path):
    again = logvar.load(vae.save(tmp_path / "run"))
    np.testing.assert_array_equal(
        again.score_samples(X, 3, condition=TOLD), vae.score_samples(X, 3, condition=TOLD)
    )
    told = {"batch": "a", "dose": 0.1}
    np.testing.assert_array_equal(again.sample(4, condition=told), vae.sample(4, condition=told))


def test_columns_of_a_table_are_found_in_it_and_come_back(tmp_path):
    table = pd.DataFrame({"batch": BATCH, "x": X[:, 0], "kind": RNG.choice(["u", "v"], N)})
    vae = logvar.VAE(**SETTINGS, epochs=1).fit(table, condition="batch")
    by_schema = logvar.VAE(**SETTINGS, epochs=1, schema={"batch": "condition"}).fit(table)
    np.testing.assert_array_equal(vae.transform(table), by_schema.transform(table))
    assert list(vae.schema_.modelled) == [vae.schema_["x"], vae.schema_["kind"]]
    # Where they are given, they stand in for the table's own.
    other = vae.transform(table.drop(columns="batch"), condition=np.where(BATCH == "a", "b", "a"))
    assert np.any(other != vae.transform(table))
    drawn = logvar.load(vae.save(tmp_path / "run")).sample(3, condition={"batch": "b"})
    assert drawn.batch.tolist() == ["b"] * 3 and list(drawn.columns) == list(table.columns)
    with pytest.raises(logvar.LogvarError, match="X has no such columns"):
        vae.transform(table.drop(columns="batch"))


def test_it_resumes_to_the_same_bytes_and_refuses_another_condition(tmp_path):
    whole = logvar.VAE(**SETTINGS, epochs=3).fit(X, condition=TOLD)
    at = logvar.Checkpoints(tmp_path, epochs=1)
    logvar.VAE(**SETTINGS, epochs=2).fit(X, condition=TOLD, checkpoints=at)
    resumed = logvar.VAE(**SETTINGS, epochs=3)
    resumed.fit(X, condition=TOLD, checkpoints=at, resume=True)
    np.testing.assert_array_equal(resumed.elbo(X, condition=TOLD), whole.elbo(X, condition=TOLD))
    with pytest.raises(logvar.LogvarError, match="condition_sha256"):
        resumed.fit(X, condition=TOLD | {"dose": -DOSE}, checkpoints=at, resume=True)


def test_weights_of_rows_and_held_out_rows_have_their_own_conditions():
    weight = np.where(BATCH == "b", 0.0, 1.0)
    told = TOLD | {"dose": np.where(BATCH == "b", np.nan, 5 * DOSE)}  # no row that counts lacks it
    some = logvar.VAE(**SETTINGS, epochs=1).fit(X, condition=told, sample_weight=weight)
    kept = {name: values[weight > 0] for name, values in told.items()}
    alone = logvar.VAE(**SETTINGS, epochs=1).fit(X[weight > 0], condition=kept)
    assert some.fitted_.conditions.as_toml() == alone.fitted_.conditions.as_toml()
    assert some.fitted_.conditions.schema["batch"].levels == ("a",)
    for part in ("train", "validation"):  # sums of another number of rows may round otherwise
        assert some.history_[0][part] == pytest.approx(alone.history_[0][part], rel=1e-6)
    inside = {"x": X[:, 0], "y": X[:, 1], "batch": BATCH}
    some = logvar.VAE(**SETTINGS, epochs=1).fit(inside, condition="batch", sample_weight=weight)
    assert some.fitted_.conditions.schema["batch"].levels == ("a",)
    with pytest.raises(logvar.LogvarError, match="condition has 239 rows: expected 240"):
        logvar.VAE(**SETTINGS).fit(X, condition=DOSE[1:], sample_weight=weight)
    held = logvar.VAE(**SETTINGS, epochs=1).fit(
        X[:200], condition={k: v[:200] for k, v in TOLD.items()},
        validation_data=X[200:], validation_condition={k: v[200:] for k, v in TOLD.items()},
    )  # fmt: skip
    assert np.isfinite(held.history_[0]["validation"]["elbo"])


def test_rows_of_a_later_run_count_by_weight_too(vae, tmp_path):
    folder = vae.save(tmp_path / "first")
    told = {"batch": np.repeat(["c", "d"], 20), "dose": DOSE[:40]}
    later = logvar.VAE(from_run=str(folder), epochs=1)
    later.fit(X[:40], condition=told, sample_weight=np.repeat([1.0, 0.0], 20))
    assert later.fitted_.conditions.schema["batch"].levels == ("a", "b", "c")


def test_conditions_to_draw_from_are_of_rows_from_first_to_last():
    form = Conditions.of({"batch": ["a", "b"]})
    wider = form.with_levels_of({"batch": np.repeat(["b", "c"], [2000, 1000])})
    assert len(wider.usual) <= 1000
    np.testing.assert_allclose(wider.usual.mean(0), [0, 2 / 3, 1 / 3], atol=0.01)


HELD_OUT = {
    "validation": lambda **given: logvar.VAE(**SETTINGS, epochs=1).fit(X, **given),
    "test": lambda **given: logvar.compare(
        X, scales=["log-variance", "log-std"], arms=["as is"], learning_rates=[0.01], seeds=2,
        latent_dim=1, network="mlp(hidden=[4])", epochs=1, **given,
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", HELD_OUT)
def test_a_condition_of_other_rows_goes_with_them_and_with_one_of_x(which):
    data, of_data = {f"{which}_data": X[:9]}, {f"{which}_condition": DOSE[:9]}
    for given, message in (
        ({"condition": DOSE} | of_data, f"{which}_condition .*without {which}_data"),
        (data | of_data, f"{which}_condition .*without condition"),
        (of_data, f"{which}_condition .*without {which}_data"),
        ({"condition": DOSE} | data, f"none was given: give {which}_condition=…"),
    ):
        with pytest.raises(logvar.LogvarError, match=message) as raised:
            HELD_OUT[which](**given)
        assert "\n" not in str(raised.value)


def test_a_new_level_is_mapped_with_the_rest_frozen(vae, tmp_path):
    folder = vae.save(tmp_path / "first")
    new = X[BATCH == "b"] + [6, 0, 0]
    told = {"batch": np.repeat("c", len(new)), "dose": DOSE[BATCH == "b"]}
    second = logvar.VAE(from_run=str(folder), epochs=60, learning_rate=0.05, patience=0)
    second.fit(new, condition=told)
    # Rows of old levels are read as before, to rounding: their weights have not moved.
    for call in (vae.transform, vae.reconstruct):
        np.testing.assert_allclose(
            getattr(second, call.__name__)(X, condition=TOLD), call(X, condition=TOLD), atol=1e-4
        )
    c, b = (second.sample(2000, condition={"batch": level, "dose": 0.0})[:, 0] for level in "cb")
    np.testing.assert_allclose(c.mean() - b.mean(), 6, atol=1.5)
    again = logvar.load(second.save(tmp_path / "second"))
    assert again.fitted_.conditions.schema["batch"].levels == ("a", "b", "c")
    with pytest.raises(logvar.LogvarError, match="may move every weight"):
        logvar.VAE(from_run=str(folder), optimizer="adamw").fit(new, condition=told)
    with pytest.raises(logvar.LogvarError, match="give condition=… for the new rows"):
        logvar.VAE(from_run=str(folder)).fit(new)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            {"batch": "z", "dose": 0.0},
            "has the level 'z' .*which the model never saw: expected one of 2",
        ),
        ({"batch": "a"}, "condition lacks 'dose'"),
        ({"batch": "a", "dose": 1e300}, "'dose' is 1e\\+300 at row 0, which float32 cannot hold"),
        ({"batch": "a", "dose": np.nan}, "no value in row 0, column 'dose'"),
        ({"batch": ["a", "b"], "dose": [0.0, 1.0]}, "condition has 2 rows: expected 3"),
        (None, "and this call has no such columns|none was given"),
    ],
)
def test_what_cannot_be_told_is_one_line(condition, message, vae):
    with pytest.raises(logvar.LogvarError, match=message) as caught:
        vae.sample(3, condition=condition)
    assert "\n" not in str(caught.value)


def test_a_model_without_a_condition_takes_none():
    plain = logvar.VAE(**SETTINGS, epochs=1).fit(X)
    with pytest.raises(logvar.LogvarError, match="fitted without one"):
        plain.sample(2, condition={"batch": "a"})
    with pytest.raises(logvar.LogvarError, match="X has no names of columns"):
        logvar.VAE(**SETTINGS).fit(X, condition="batch")
    with pytest.raises(logvar.LogvarError, match="no value in row 1, column 0"):
        logvar.VAE(**SETTINGS).fit(X, condition=np.where(np.arange(N) == 1, np.nan, DOSE))
    with pytest.raises(logvar.LogvarError, match="condition has 239 rows: expected 240"):
        logvar.VAE(**SETTINGS).fit(X, condition=DOSE[1:])


def test_the_command_line_draws_rows_of_a_condition(tmp_path, capsys):
    from logvar.cli.results import decode, encode, sample

    table = {"n": [1, 2] * (N // 2), "x": X[:, 0]}
    run = logvar.VAE(**SETTINGS, epochs=1).fit(table, condition="n").save(tmp_path / "run")
    sample(run, tmp_path / "some.csv", 2, False, False, None, condition={"n": "2"})
    assert (tmp_path / "some.csv").read_text().splitlines()[0].startswith('"n","x"')
    with pytest.raises(logvar.LogvarError, match="--n is 0: expected an integer of at least 1"):
        sample(run, tmp_path / "none.csv", 0, False, False, None, condition={"n": "2"})
    table = tmp_path / "table.csv"
    pd.DataFrame({"n": [1, 2], "x": [0.5, 3.5]}).to_csv(table, index=False)
    encode(run, str(table), None, tmp_path / "z.csv")
    decode(run, tmp_path / "z.csv", tmp_path / "x.csv", {"n": "2"})
    vae, codes = logvar.load(run), pd.read_csv(tmp_path / "z.csv")[["z0", "z1"]].to_numpy()
    np.testing.assert_allclose(
        pd.read_csv(tmp_path / "x.csv")["x"],
        vae.inverse_transform(codes.astype(np.float32), condition={"n": 2})["x"],
        rtol=1e-5,
    )
    for told, message in (
        ({"n": "9"}, "never saw"),
        ({"m": "2"}, "unknown column"),
        (None, "needs|give condition"),
    ):
        with pytest.raises(logvar.LogvarError, match=message):
            sample(run, tmp_path / "none.csv", 2, False, False, None, condition=told)
    assert not (tmp_path / "none.csv").exists()


def test_a_list_of_texts_beside_an_array_is_one_of_levels():
    """As an array of them is, and a list of whole numbers."""
    fits = [
        logvar.VAE(**SETTINGS, epochs=1).fit(X, condition=given)
        for given in (np.array(["a", "b"] * (len(X) // 2)), ["a", "b"] * (len(X) // 2))
    ]
    one, same = (vae.sample(3, condition="b", random_state=0) for vae in fits)
    np.testing.assert_array_equal(one, same)
    with pytest.raises(logvar.LogvarError, match="names 'a', 'b', 'a', …, and X has no names"):
        logvar.VAE(**SETTINGS).fit(X, condition=["a", "b"] * 3)
