"""Rows far outside of the training rows: scores are finite, and fall with the distance."""

import dataclasses
import warnings

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_iris

import logvar
from logvar import scales
from logvar.errors import OutsideTrainingRange
from tests.cases import every_value_once, slow, some

IRIS = load_iris().data
BASE = np.random.default_rng(0).normal(size=(300, 3))
RAY = np.array([1.0, -0.5, 0.01])
DECADES = 10.0 ** np.arange(31)  # 1 … 1e30
QUICK = {"latent_dim": 2, "network": "mlp(hidden=[8])", "random_state": 0}
REAL = ("normal", "laplace", "student-t")
NAMES = [name for name, entry in scales.REGISTRY.items() if not entry.wraps]
WRAPPED = ["clamped(log-variance, low=-4, high=3)", "floored(softplus, minimum=1e-3)"]

pytestmark = pytest.mark.filterwarnings("ignore::logvar.errors.OutsideTrainingRange")


def fitted(likelihood, **settings):
    return logvar.VAE(**QUICK, likelihood=likelihood, epochs=3, **settings).fit(BASE)


@pytest.fixture(scope="module")
def models():
    return {likelihood: fitted(likelihood) for likelihood in REAL}


def under(vae, scale, grown=1.0):
    """The same weights read under another scale, the raw outputs' columns grown."""
    other = logvar.VAE(**vae.get_params())
    other.__dict__.update(vae.__dict__)
    head = vae.model_.encoder.head
    columns = np.where(np.arange(4) >= 2, grown, 1.0).astype(np.float32)
    model = eqx.tree_at(
        lambda model: (model.posterior.scale, model.encoder.head.kernel),
        vae.model_,
        (scales.get(scale), head.kernel * columns),
    )
    other.fitted_ = dataclasses.replace(vae.fitted_, model=model)
    return other


def check_ray(vae, rows, *, ordered=True):
    scores, elbos = vae.score_samples(rows, 5), vae.elbo(rows)
    assert scores.dtype == elbos.dtype == np.float64
    assert np.isfinite(scores).all() and np.isfinite(elbos).all()
    if ordered:  # from ten standard deviations outwards
        assert (np.diff(scores[1:]) < 0).all()


@pytest.mark.parametrize(
    "scale",
    some([*NAMES, *WRAPPED], quick=["log-variance", "softplus", *WRAPPED[:1]]),
)
def test_scores_along_a_ray_are_finite_and_fall_under_every_scale(scale, models):
    check_ray(under(models["normal"], scale), DECADES[:, None] * RAY)


@pytest.mark.parametrize("scale", ["log-std", slow("softplus"), "log-precision"])
def test_even_where_raw_outputs_leave_the_safe_range(scale, models):
    """A network whose raw outputs reach hundreds for ordinary rows: finite, though no good."""
    check_ray(under(models["normal"], scale, grown=3000.0), DECADES[:, None] * RAY, ordered=False)


@pytest.mark.parametrize(("likelihood", "noise"), every_value_once(REAL, ["shared", "per-example"]))
def test_scores_along_a_ray_are_finite_and_fall_under_every_likelihood(likelihood, noise, models):
    vae = models[likelihood] if noise == "shared" else fitted(f"{likelihood}(noise={noise})")
    rows = DECADES[:, None] * RAY
    check_ray(vae, rows)
    figures = vae.evaluate(rows, n_importance=5)
    for figure in figures.figures:
        numbers = [figure.value, figure.standard_error, figure.monte_carlo_error or 0.0]
        assert np.isfinite(numbers).all(), figure
        assert len(str(figure)) < 60
    assert figures.outside == 30
    assert np.isfinite(vae.score(rows))
    for values in (vae.transform(rows), vae.posterior(rows).raw, vae.reconstruct(rows)):
        assert np.isfinite(values).all()


@pytest.mark.parametrize(
    ("likelihood", "rows"),
    [
        ("bernoulli", np.array([[0, 0, 0], [1, 1, 1], [1, 0, 1]], np.uint8)),
        ("discretized-logistic", np.array([[0, 0, 0], [255, 255, 255], [0, 255, 0]], np.uint8)),
    ],
)
def test_bounded_likelihoods_are_finite_at_their_ends(likelihood, rows):
    middle = np.repeat([[0, 1, 0], [0, 0, 1]], 20, axis=0).astype(np.uint8)
    vae = logvar.VAE(**QUICK, likelihood=likelihood, epochs=1).fit(middle)
    assert np.isfinite(vae.score_samples(rows, 5)).all() and np.isfinite(vae.elbo(rows)).all()
    assert vae.evaluate(rows, n_importance=5).outside == 0


def test_a_typical_row_scores_the_same_beside_any_other(models):
    """To the bit, and the same as by the program that knows of no such rows."""
    vae = models["normal"]
    typical, far = BASE[:20], DECADES[2:12, None] * RAY
    both = np.concatenate([far, typical])
    for score in (vae.elbo, vae.score_samples, vae.transform, vae.reconstruct):
        np.testing.assert_array_equal(score(both)[10:], score(typical))
        np.testing.assert_array_equal(score(both)[3:4], score(far[3:4]))
    from logvar.evaluation import elbo, importance

    zero = jnp.zeros((), jnp.int32)
    examples, preparation = vae._stored(typical)
    assert not len(examples.outside)
    task = importance._Task(vae.model_, preparation, zero, jnp.asarray(100))
    plain = importance.in_blocks(importance._block, task, examples.stored, examples.words)
    np.testing.assert_array_equal(plain.log_likelihood, vae.score_samples(typical))
    task = elbo._Task(vae.model_, preparation, zero, True, 1)
    plain = elbo.in_blocks(elbo._keyed_block, task, examples.stored, examples.words)
    expected = vae.elbo(typical, analytic_kl=True)
    np.testing.assert_array_equal(plain.log_likelihood - plain.kl.sum(-1), expected)


def test_far_rows_score_as_their_formula_in_float64_says(models):
    """log p(x | z) + log p(z) − log q(z | x), with z from the cut copy, from NumPy alone."""
    vae = models["normal"]
    rows = np.array([[50.0, -3e5, 0.1], [2e20, 1.0, 1.0]])
    eps = np.random.default_rng(0).standard_normal((2, 2)).astype(np.float32)
    q = vae.posterior(rows)
    mean, sigma = np.asarray(q.mean, float), np.exp(np.asarray(q.raw, float) / 2)
    z = mean + sigma * eps
    noise = vae.model_.likelihood.noise
    spread = float(noise.scale.sigma(noise.raw)) * vae.fitted_.units.factor
    decoded = vae.fitted_.units.shift + vae.fitted_.units.factor * np.asarray(
        [vae.model_.mean(jnp.asarray(latents, jnp.float32)) for latents in z], float
    )
    log_p = -0.5 * ((rows - decoded) / spread) ** 2 - np.log(spread) - 0.5 * np.log(2 * np.pi)
    log_prior, log_q = -0.5 * z**2, -0.5 * eps.astype(float) ** 2 - np.log(sigma)
    expected = log_p.sum(1) + log_prior.sum(1) - log_q.sum(1)
    np.testing.assert_allclose(vae.elbo(rows, eps=eps), expected, rtol=1e-6)


def test_importance_samples_that_all_miss_still_bound_the_likelihood(models):
    """More samples tighten the bound, and the error of a row far out stays a number."""
    from logvar.evaluation.importance import importance_log_likelihood

    vae = models["student-t"]
    examples, preparation = vae._stored(1e12 * RAY[None])
    few, many = (
        importance_log_likelihood(vae.model_, examples, preparation, 0, k) for k in (1, 200)
    )
    assert many.log_likelihood[0] > few.log_likelihood[0] - np.log(200)
    assert 0 <= many.monte_carlo_error[0] < 1


@pytest.mark.parametrize("scale", ["log-variance", "softplus"])
def test_one_cell_of_iris_out_of_a_thousand(scale):
    """Sorted by score, the worst anomaly comes first."""
    vae = logvar.VAE(**QUICK, scale=scale, epochs=10).fit(IRIS)
    worst = []
    for factor in (1e3, 1e6, 1e20):
        rows = IRIS.copy()
        rows[77, 2] *= factor
        scores = vae.score_samples(rows, 5)
        assert np.isfinite(scores).all() and np.argsort(scores)[0] == 77
        worst.append(scores[77])
    assert worst[0] > worst[1] > worst[2]


def test_the_range_is_that_of_the_training_rows_and_as_much_again():
    rows = np.array([[0.0, 5.0], [1.0, 5.0], [4.0, 5.0]])
    vae = logvar.VAE(**QUICK, likelihood="normal", epochs=1, validation_fraction=0.0).fit(rows)
    within = np.array([[-3.999, 5.0], [7.999, 5.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae.transform(within)
    message = r"2 of 3 rows lie outside.*first is row 1: feature 1 is 6, .* from 5 to 5\)"
    with pytest.warns(OutsideTrainingRange, match=message) as caught:
        cut = vae.transform([[0.0, 5.0], [-3.999, 6.0], [8.001, 5.0]])
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    np.testing.assert_array_equal(cut[1], vae.transform(within)[0])
    np.testing.assert_array_equal(cut[2], vae.transform([[1e9, 5.0]])[0])


def test_a_held_out_row_far_away_does_not_end_early_stopping():
    held_out = np.concatenate([BASE[:20], [[1e6, 0.0, 0.0]]])
    vae = logvar.VAE(**QUICK, epochs=3).fit(BASE[20:], validation_data=held_out)
    elbos = [line["validation"]["elbo"] for line in vae.history_]
    assert np.isfinite(elbos).all() and vae.history_[-1]["best_epoch"] > 0
    assert elbos[-1] == pytest.approx(vae.score(held_out), rel=0.5)


@pytest.mark.parametrize("distance", [1e25, 1e60])
def test_a_held_out_row_may_lie_as_far_away_as_a_scored_one(distance):
    """Its square leaves float32, and a validation ELBO of NaN would end training as no better."""
    held_out = np.concatenate([BASE[:20], [[distance, 0.0, 0.0]]])
    vae = logvar.VAE(**QUICK, epochs=2).fit(BASE[20:], validation_data=held_out)
    elbos = [line["validation"]["elbo"] for line in vae.history_]
    assert np.isfinite(elbos).all() and vae.history_[-1]["best_epoch"] > 0


def test_figures_are_finite_where_squares_leave_float64():
    rows = BASE * 1e300
    vae = logvar.VAE(**QUICK, epochs=1).fit(rows)
    figure = vae.evaluate(rows, n_importance=5)["squared_error"]
    assert np.isfinite([figure.value, figure.standard_error]).all()
    assert "float64 cannot hold" in figure.how
    plain = logvar.VAE(**QUICK, epochs=1).fit(BASE).evaluate(BASE, n_importance=5)["squared_error"]
    unit = vae.fitted_.units.factor.max() / 1e300
    assert figure.value * unit**2 == pytest.approx(plain.value, rel=1e-3)
    assert figure.standard_error * unit**2 == pytest.approx(plain.standard_error, rel=1e-3)
