"""The VampPrior's pseudo-inputs: where they live, where they start, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats
from sklearn.datasets import load_iris

import logvar
from logvar.assembly import TrainingData, build_model, build_run, skeleton
from logvar.assembly.decisions import Decisions
from logvar.distributions.aggregate import Aggregate
from logvar.models.batch import Batch
from logvar.posteriors.diagonal import Diagonal
from logvar.priors import EncoderInputs
from logvar.recipe import Recipe

X = load_iris().data
RECIPE = Recipe().replace(prior="vamp(components=5)", network="mlp(hidden=[4])", latent_dim=2)


def test_they_start_at_training_rows_that_the_seed_chooses():
    runs = [build_run(RECIPE.replace(random_state=seed), TrainingData(X)) for seed in (0, 0, 1)]
    one, same, other = (np.asarray(run.model.prior.raw) for run in runs)
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    standardized = (X - X.mean(0)) / X.std(0)
    for row in one:
        assert np.abs(standardized - row).max(1).min() < 1e-5
    assert len(np.unique(one, axis=0)) > 1


def test_they_are_one_hot_and_observed_where_the_encoder_reads_codes_and_a_mask():
    rows = np.random.default_rng(0).integers(0, 3, size=(30, 2)).astype(float)
    rows[3:20, 0] = np.nan
    rows[:3] = [[0, 1], [2, 0], [1, 2]]
    run = build_run(RECIPE.replace(likelihood="categorical"), TrainingData(rows))
    model, pseudo = run.model, np.asarray(run.model.prior.raw)
    assert pseudo.shape == (5, 6) and set(np.unique(pseudo)) <= {0.0, 1.0}
    assert model.missing
    # The encoder reads 6 one-hot values and 2 of the mask, both 1: the code of a whole row.
    whole = jnp.asarray([2.0, 0.0])
    read = model.likelihood.encoder_input(whole)
    for a, b in zip(*map(jax.tree.leaves, (model.code_of_input(read), model.encode(Batch(whole)))),
                    strict=True):  # fmt: skip
        np.testing.assert_array_equal(a, b)


def test_intensities_stay_between_0_and_1():
    images = np.random.default_rng(0).uniform(size=(20, 3, 3))
    images[:, 0] = 0
    prior = build_run(RECIPE.replace(likelihood="bernoulli"), TrainingData(images)).model.prior
    start = np.asarray(prior.pseudo_inputs)
    assert np.abs(images[None] - start[:, None]).max((2, 3)).min(1).max() < 0.021
    moved = type(prior)(prior.raw + 50.0, prior.intensities).pseudo_inputs
    assert (np.asarray(moved) <= 1).all() and (start > 0.01).all()


def test_its_density_is_the_mean_of_the_posteriors(float64):
    rng = np.random.default_rng(0)
    codes = {
        "mean": jnp.asarray(rng.normal(size=(3, 2))),
        "raw": jnp.asarray(rng.normal(size=(3, 2))),
    }
    p = Aggregate(codes, Diagonal().distribution)
    z = np.array([0.3, -0.8])
    each = stats.norm(codes["mean"], np.exp(codes["raw"] / 2)).logpdf(z).sum(1)
    expected = special.logsumexp(each) - np.log(3)
    np.testing.assert_allclose(p.log_prob(jnp.asarray(z)), expected, rtol=1e-12)
    drawn = np.asarray(jax.jit(jax.vmap(p.sample))(jax.random.split(jax.random.key(0), 4000)))
    error = drawn.std(0) / np.sqrt(len(drawn))
    assert (np.abs(drawn.mean(0) - np.asarray(codes["mean"]).mean(0)) < 5 * error).all()


def test_what_has_no_rows_or_too_few_is_refused_and_a_skeleton_is_not():
    with pytest.raises(logvar.LogvarError, match="151 components.*150 training rows.*at most 150"):
        build_run(RECIPE.replace(prior="vamp(components=151)"), TrainingData(X))
    decisions = Decisions("normal", "mlp(hidden=[4])", 1.0, ())
    with pytest.raises(logvar.LogvarError, match="none were given"):
        build_model(RECIPE, decisions, (4,))
    with pytest.raises(logvar.LogvarError, match="'vamp.components=5.'.*no condition.*mixture"):
        build_model(RECIPE, decisions, (4,), condition_size=2)
    assert skeleton(RECIPE, decisions, (4,)).prior.raw.shape == (5, 4)
    inputs = EncoderInputs((4,), False, 3, lambda count: jnp.zeros((count, 4)))
    with pytest.raises(logvar.LogvarError, match="5 components and there are 3"):
        logvar.priors.get("vamp(components=5)").build(2, jax.random.key(0), inputs)


@pytest.mark.parametrize("posterior", ["diagonal", "power-spherical"])
def test_a_run_with_it_is_saved_and_loaded(posterior, tmp_path):
    vae = logvar.VAE(
        latent_dim=2,
        epochs=2,
        prior="vamp(components=5)",
        posterior=posterior,
        network="mlp(hidden=[4])",
    ).fit(X)
    again = logvar.load(vae.save(tmp_path / "run"))
    np.testing.assert_array_equal(again.transform(X), vae.transform(X))
    np.testing.assert_array_equal(again.score_samples(X), vae.score_samples(X))
    np.testing.assert_array_equal(again.sample(3), vae.sample(3))
    assert again.recipe_.model.prior == "vamp(components=5)"
