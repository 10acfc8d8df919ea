"""The tutorial's CVAE against values recorded from TensorFlow 2.21 / Keras 3.15."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar import objectives
from logvar.models.batch import Batch
from logvar.objectives import Moment
from logvar.recipe import Recipe, preset
from logvar.training import optimizers
from logvar.training.state import partition
from tests.golden.recorded import (
    HERE,
    LAYERS,
    STEPS,
    TRAINED,
    assert_close,
    images,
    model,
    tutorial_networks,
)

TUTORIAL = objectives.get("elbo(analytic_kl=false)")


@jax.jit
def loss_and_gradient(model, x, eps):
    start, rows = jnp.asarray(0), jnp.asarray(len(x))
    moment = Moment(start, start, rows, jnp.asarray(1), jax.random.key(0))

    def loss(model):
        return TUTORIAL(model, Batch(x), eps[:, None], moment)[0]

    return jax.value_and_grad(loss)(model)


@jax.jit
def intermediates(m, x, eps):
    code = jax.vmap(m.encode)(Batch(x))
    mean, raw = code["mean"], code["raw"]
    posterior = logvar.Normal(mean, raw, "log-variance")
    z = logvar.reparameterize(mean, raw, eps)
    return {
        "mean": mean,
        "logvar": raw,
        "z": z,
        "logits": jax.vmap(m.decode)(z),
        "log_p_x_given_z": jax.vmap(lambda x, z: jnp.sum(m.likelihood.log_prob(x, m.decode(z))))(
            x, z
        ),
        "log_p_z": jax.vmap(m.prior_given().log_prob_groups)(z).sum(-1),
        "log_q_z_given_x": posterior.log_prob(z).sum(-1),
    }, posterior.log_prob_of_noise(eps).sum(-1)


def inputs(step):
    return jnp.asarray(images(f"step{step}")), jnp.asarray(STEPS[f"step{step}/eps"])


def test_every_intermediate_of_step_0():
    found, log_q_of_noise = intermediates(model("initial/"), *inputs(0))
    for name, value in found.items():
        assert_close(value, STEPS[f"step0/{name}"])
    assert_close(log_q_of_noise, STEPS["step0/log_q_z_given_x"])
    loss, _ = loss_and_gradient(model("initial/"), *inputs(0))
    assert_close(loss, STEPS["step0/loss"])


def test_gradients_of_step_0():
    _, gradient = loss_and_gradient(model("initial/"), *inputs(0))
    for name, layer in LAYERS.items():
        for part in ("kernel", "bias"):
            assert_close(getattr(layer(gradient), part), STEPS[f"step0/gradient/{name}/{part}"])


def ones_like(tree):
    return jax.tree.map(lambda _: jnp.ones(()), tree)


def scalars(rate):
    one, taken, loss = jnp.ones(()), jnp.asarray(True), jnp.zeros(())
    return optimizers.StepScalars(jnp.asarray(rate), one, taken, loss)


def test_five_steps_of_keras_adam():
    m = model("initial/")
    optimizer = optimizers.get("adam-keras").build()
    state = optimizer.init(partition(m)[0], None)
    for k in range(5):
        loss, gradient = loss_and_gradient(m, *inputs(k))
        assert_close(loss, STEPS[f"step{k}/loss"])
        m, state = optimizer.step(m, gradient, state, ones_like(m), scalars(1e-4))
    for name, layer in LAYERS.items():
        for part in ("kernel", "bias"):
            expected = STEPS[f"after5/{name}/{part}"]
            np.testing.assert_allclose(getattr(layer(m), part), expected, rtol=0, atol=3e-5)


def test_epochs_of_fit():
    """`fit` follows TensorFlow through epochs, given its order and noise (record_epochs.py)."""
    settings = {name: preset("tutorial").flat()[name] for name in Recipe.settings()}
    start = model("initial/")
    vae = logvar.VAE(**settings | {"epochs": 6}, encoder=start.encoder, decoder=start.decoder).fit(
        images("test_first512")
    )
    elbos = [epoch["train"]["elbo"] for epoch in vae.history_]
    recorded = [-542.8540, -539.6561, -535.2628, -528.0831, -513.9301, -483.8802]
    np.testing.assert_allclose(elbos, recorded, rtol=0, atol=0.003)


def test_the_textbooks_adam_would_miss_them():
    """ε after the bias correction ends about 2e-4 away: the test above can tell."""
    gradient = {"w": jnp.asarray([1e-6, 1e-3])}
    steps = {}
    for name in ("adam", "adam-keras"):
        optimizer = optimizers.get(name).build()
        steps[name], _ = optimizer.step(
            gradient, gradient, optimizer.init(gradient, None), ones_like(gradient), scalars(1.0)
        )
    assert abs(steps["adam"]["w"][0] - steps["adam-keras"]["w"][0]) > 0.1


@pytest.fixture(scope="module")
def imported():
    return logvar.import_keras(
        HERE / "tutorial_encoder_latent2.keras", HERE / "tutorial_decoder_latent2.keras"
    )


def test_elbo_of_the_trained_weights_image_by_image(imported):
    eps = np.random.default_rng(12345).standard_normal((10_000, 2)).astype("float32")[:512]
    got = imported.elbo(images("test_first512"), eps=eps)
    expected = TRAINED["test_elbo_per_image_eps12345"][:512]
    np.testing.assert_allclose(got, expected, rtol=0, atol=0.01)
    assert got.mean(dtype=float) == pytest.approx(expected.mean(dtype=float), abs=1e-3)


def test_importance_weighted_likelihood_of_the_trained_weights(imported):
    got = imported.score_samples(images("test_first512")[:100], n_samples=500)
    expected = TRAINED["log_likelihood_iw500_first500"][:100]
    # The noise differs: per-image estimates scatter, their mean agrees.
    assert got.mean() == pytest.approx(expected.mean(), abs=0.3)
    assert np.corrcoef(got, expected)[0, 1] > 0.999


def test_imported_weights_are_the_recorded_ones(imported):
    for name, layer in LAYERS.items():
        for part in ("kernel", "bias"):
            np.testing.assert_array_equal(
                getattr(layer(imported.model_), part), TRAINED[f"{name}/{part}"]
            )


def test_imported_model_can_be_saved_and_loaded(imported, tmp_path):
    x = images("test_first512")[:5]
    again = logvar.load(imported.save(tmp_path / "run"))
    np.testing.assert_array_equal(again.transform(x), imported.transform(x))


def test_pixels_and_intensities_are_the_same_image(imported):
    x = images("test_first512")[:5]
    pixels = (x * 255).astype(np.uint8)
    np.testing.assert_array_equal(imported.transform(pixels), imported.transform(x))


def test_files_that_are_not_the_tutorials_are_refused(tmp_path):
    encoder = HERE / "tutorial_encoder_latent2.keras"
    with pytest.raises(logvar.LogvarError, match="expected the tutorial's"):
        logvar.import_keras(encoder, encoder)
    cut = tmp_path / "cut.keras"
    cut.write_bytes(encoder.read_bytes()[:5000])
    with pytest.raises(logvar.LogvarError, match=r"cannot be read as a \.keras file"):
        logvar.import_keras(cut, encoder)


def test_preset_is_the_tutorials():
    settings = {name: preset("tutorial").flat()[name] for name in Recipe.settings()}
    assert settings["latent_dim"] == 2
    assert settings["batch_size"] == 32
    assert settings["epochs"] == 10
    assert settings["learning_rate"] == 1e-4
    assert settings["binarization"] == "threshold"
    assert not objectives.get(settings["objective"]).analytic_kl
    assert settings["validation_fraction"] == 0


@pytest.mark.parametrize(("latent_dim", "count"), [(2, 69_989), (50, 366_533)])
def test_number_of_weights(latent_dim, count):
    pair = tutorial_networks(latent_dim)
    assert sum(leaf.size for leaf in jax.tree.leaves(pair)) == count


def test_weights_start_as_keras_starts_them():
    """Glorot-uniform kernels, whose fans count the whole window, and zero biases."""
    encoder, decoder = tutorial_networks(2)
    for layer, fans in (
        (encoder.second, 9 * 96),
        (encoder.head, 2304 + 4),
        (decoder.first, 9 * 96),
    ):
        limit = np.sqrt(6 / fans)
        assert 0.97 * limit < np.abs(layer.kernel).max() <= limit
        assert not np.any(layer.bias)
