"""Every registered optimizer walks into this suite by itself; those of Optax as objects."""

import dataclasses
import pickle
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris

import logvar
from logvar.data.order import split
from logvar.recipe import Recipe
from logvar.runs.checkpoints import Checkpoints
from logvar.runs.converting import convert
from logvar.storage.weights import load_arrays, save_arrays
from logvar.training import optimizers
from logvar.training.step import run_chunk
from tests.training.test_training import DIGITS, Chunks, as_bytes, run

ROWS = DIGITS.train[:128]
SMALL = {
    "latent_dim": 2,
    "network": "mlp(hidden=[8])",
    "batch_size": 64,
    "epochs": 3,
    "patience": 0,
}
TEXTS = [
    *optimizers.names(),
    *(f"{name}(weight_decay=0.1)" for name in optimizers.names()),
    "sgd(momentum=0.9)",
    "adam(b1=0.5, b2=0.9, eps=1e-3)",
]
RATE = 2.0**20
"""So large that a weight after a step is its direction, but for rounding."""
PARAMS = {"w": jnp.asarray([1.0, -2.0, 3.0])}
COORDINATES = {"w": jnp.ones(())}


def rule(text):
    return optimizers.get(text).build()


def gradients(n=5):
    return [{"w": jnp.asarray([0.1, 1e-5, -3.0]) * (k - 1.5)} for k in range(n)]


def step(rule, gradient, state, taken=True):
    """The direction of a step from `PARAMS`, and the state after it."""
    scalars = optimizers.StepScalars(
        jnp.asarray(RATE), jnp.ones(()), jnp.asarray(taken), jnp.zeros(())
    )
    weights, state = rule.step(PARAMS, gradient, state, COORDINATES, scalars)
    return {"w": (PARAMS["w"] - weights["w"]) / RATE}, state


def after(rule, gradients):
    """The last direction, and the state after it."""
    state, direction = rule.init(PARAMS, COORDINATES), None
    for gradient in gradients:
        direction, state = step(rule, gradient, state)
    return direction, state


def in_numpy(text, gradients):
    """The last direction in float64, from the formulas of the papers."""
    s = optimizers.get(text)
    g = [np.asarray(each["w"], float) for each in gradients]
    w, name = np.asarray(PARAMS["w"], float), type(s).__name__
    if name != "AdamW":
        g = [each + s.weight_decay * w for each in g]
    if name == "SGD":
        return sum(s.momentum ** (len(g) - 1 - k) * each for k, each in enumerate(g))
    t = len(g)
    m = sum((1 - s.b1) * s.b1 ** (t - 1 - k) * each for k, each in enumerate(g))
    v = sum((1 - s.b2) * s.b2 ** (t - 1 - k) * each**2 for k, each in enumerate(g))
    if name == "AdamKeras":
        return np.sqrt(1 - s.b2**t) / (1 - s.b1**t) * m / (np.sqrt(v) + s.eps)
    direction = m / (1 - s.b1**t) / (np.sqrt(v / (1 - s.b2**t)) + s.eps)
    return direction + (s.weight_decay * w if name == "AdamW" else 0)


@pytest.mark.parametrize("text", TEXTS)
def test_directions_are_those_of_the_papers(text):
    direction, _ = after(rule(text), gradients())
    np.testing.assert_allclose(direction["w"], in_numpy(text, gradients()), rtol=3e-5)


@pytest.mark.parametrize(
    ("text", "theirs"),
    [
        ("adam", optax.scale_by_adam()),
        ("adam(b1=0.5, b2=0.9, eps=1e-3)", optax.scale_by_adam(0.5, 0.9, 1e-3)),
        ("adamw(weight_decay=0.1)", optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(0.1))),
        ("adam(weight_decay=0.1)", optax.chain(optax.add_decayed_weights(0.1), optax.scale_by_adam())),
        ("sgd(weight_decay=0.1)", optax.add_decayed_weights(0.1)),
        ("sgd(momentum=0.9)", optax.trace(0.9)),
    ],
)  # fmt: skip
def test_directions_are_those_of_optax(text, theirs):
    direction, _ = after(rule(text), gradients())
    state = theirs.init(PARAMS)
    for gradient in gradients():
        with jax.numpy_dtype_promotion("standard"):
            expected, state = theirs.update(gradient, state, PARAMS)
    np.testing.assert_allclose(direction["w"], expected["w"], rtol=2e-5)


@pytest.mark.parametrize(
    "text",
    [*TEXTS, optax.adam(0.1), optax.sgd(0.1, momentum=0.9)],
    ids=[*TEXTS, "optax.adam", "optax.sgd"],  # an object's own text has addresses in it
)
def test_an_optimizer_stays_as_it_was_where_a_step_is_not_taken(text):
    chosen = rule(text)
    with jax.numpy_dtype_promotion("standard"):
        _, state = after(chosen, gradients(2))
        bad = {"w": jnp.asarray([jnp.nan, jnp.inf, 1.0])}
        nowhere, kept = step(chosen, bad, state, taken=False)
        _, moved = step(chosen, gradients(1)[0], state)
    assert as_bytes(kept) == as_bytes(state)
    assert not np.any(nowhere["w"])
    assert not as_bytes(state) or as_bytes(moved) != as_bytes(state)


@pytest.mark.parametrize("text", TEXTS)
def test_a_specification_is_hashable_text(text):
    spec = optimizers.get(text)
    assert optimizers.get(optimizers.describe(spec)) == spec
    assert hash(pickle.loads(pickle.dumps(spec))) == hash(spec)  # noqa: S301
    assert not any(hasattr(value, "shape") for value in dataclasses.astuple(spec))


@pytest.mark.parametrize("text", TEXTS)
def test_a_state_is_stored_and_says_how_it_is_converted(text, tmp_path):
    _, state = after(rule(text), gradients())
    save_arrays(tmp_path / "state", state)
    assert as_bytes(load_arrays(tmp_path / "state", jax.eval_shape(lambda: state))) == as_bytes(
        state
    )
    if not jax.tree.leaves(state):
        return
    degrees = state.degrees
    _, twice = after(rule(text.split("(")[0] + "(weight_decay=0)" if "decay" in text else text),
                     [{"w": 2 * g["w"]} for g in gradients()])  # fmt: skip
    _, once = after(
        rule(text.split("(")[0] + "(weight_decay=0)" if "decay" in text else text), gradients()
    )
    for name, degree in degrees.items():
        np.testing.assert_allclose(
            getattr(twice, name)["w"], 2**degree * getattr(once, name)["w"], rtol=1e-5
        )


@pytest.mark.parametrize("text", ["adam(weight_decay={})", "sgd(momentum={})"])
def test_another_weight_decay_or_momentum_compiles_nothing(text):
    run(Chunks(50), optimizer=text.format(0.1), epochs=1, network="mlp(hidden=[7])")
    before = run_chunk.programs()
    run(Chunks(50), optimizer=text.format(0.2), epochs=1, network="mlp(hidden=[7])")
    assert run_chunk.programs() == before


def test_without_weight_decay_or_momentum_the_program_has_none():
    assert rule("adam").penalty is rule("adam").decay is rule("sgd").momentum is None
    assert rule("sgd").init(PARAMS, COORDINATES) == ()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("adm", "unknown optimizer 'adm': did you mean 'adam'"),
        ("adam(weight_deca=1)", "unknown setting of optimizer 'adam' 'weight_deca': did you mean 'weight_decay'"),
        ("adam(b1=1)", "b1 is 1, expected at least 0 and below 1"),
        ("adam(eps=0)", "eps is 0, expected above 0"),
        ("adam(weight_decay=lots)", "weight_decay is 'lots', expected a number"),
        ("custom", "stands for an object.*give it again"),
        (optax.adam, "expected a text such as .*, or a gradient transformation"),
        (None, "optimizer is None: expected a text"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(given, says):
    with pytest.raises(logvar.LogvarError, match=says) as caught:
        logvar.VAE(optimizer=given, **SMALL).fit(ROWS)
    assert "\n" not in str(caught.value)


# Objects of Optax. Its own code needs the usual promotion of types.


@pytest.fixture
def promoting():
    with jax.numpy_dtype_promotion("standard"):
        yield


def fitted(optimizer, rows=ROWS, fit=None, **settings):
    return logvar.VAE(optimizer=optimizer, **(SMALL | settings)).fit(rows, **(fit or {}))


@pytest.mark.parametrize(
    ("text", "rate", "theirs"),
    [
        ("adam(b1=0.8)", 3e-3, optax.adam(3e-3, b1=0.8)),
        ("sgd(momentum=0.9)", 3e-3, optax.sgd(3e-3, momentum=0.9)),
    ],
)
def test_optaxs_object_trains_as_the_built_in_one(text, rate, theirs, promoting):
    """In the coordinates of another scale and with clipping, both of which wrap the optimizer."""
    more = {"scale": "log-std", "match": "isometric", "clip_norm": 30.0}
    ours, other = fitted(text, learning_rate=rate, **more), fitted(theirs, **more)
    assert other.recipe_.training.optimizer == "custom"
    for a, b in zip(jax.tree.leaves(ours.model_), jax.tree.leaves(other.model_), strict=True):
        if hasattr(a, "shape"):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)


def test_coordinates_wrap_any_optimizer_to_the_bit(promoting):
    """log-std matched to log-variance is the same run, a power of two away."""
    theirs = optax.chain(optax.clip_by_global_norm(10.0), optax.lion(1e-3))
    plain = fitted(theirs, scale="log-variance")
    other = fitted(theirs, scale="log-std", match="log-variance")
    assert plain.history_ == other.history_
    head, half = plain.model_.encoder.head, other.model_.encoder.head
    columns = np.array([1, 1, 0.5, 0.5], np.float32)
    np.testing.assert_array_equal(head.kernel * columns, half.kernel)


def test_an_object_with_the_loss_as_an_argument_gets_it(promoting):
    chain = optax.chain(optax.sgd(1e-2), optax.contrib.reduce_on_plateau(patience=1, cooldown=0))
    vae = fitted(chain, epochs=6)
    assert np.isfinite(vae.history_[-1]["loss"])


def test_an_object_resumes_to_the_same_bytes_and_is_asked_for_again(tmp_path, promoting):
    theirs = optax.adam(optax.cosine_decay_schedule(1e-2, 12))
    whole = fitted(theirs, epochs=4)
    fitted(theirs, epochs=2, fit={"checkpoints": Checkpoints(tmp_path / "c", seconds=0)})
    again = {"checkpoints": Checkpoints(tmp_path / "c", seconds=0), "resume": True}
    with pytest.raises(logvar.LogvarError, match="stands for an object"):
        fitted("custom", epochs=4, fit=again)
    with pytest.raises(logvar.LogvarError, match="optimizer was 'custom', is 'adam'"):
        fitted("adam", epochs=4, fit=again)
    with pytest.raises(logvar.LogvarError, match="belongs to another model"):
        fitted(optax.sgd(1e-2), epochs=4, fit=again)
    rest = fitted(theirs, epochs=4, fit=again)
    assert as_bytes(rest.fitted_.state) == as_bytes(whole.fitted_.state)

    path = whole.save(tmp_path / "run")
    loaded = logvar.load(path)
    np.testing.assert_array_equal(loaded.transform(ROWS), whole.transform(ROWS))
    with pytest.raises(logvar.LogvarError, match="logvar.load.path, optimizer"):
        loaded.fit(ROWS)
    assert logvar.load(path, optimizer=theirs).optimizer is theirs


def test_an_object_and_a_learning_rate_are_ambiguous(tmp_path):
    for rate in (0.1, "cosine(1e-3)", lambda step: 0.1):
        folder = tmp_path / "checkpoints"
        with pytest.raises(logvar.LogvarError, match="a learning rate of its own") as caught:
            fitted(optax.adam(1e-3), learning_rate=rate, fit={"checkpoints": Checkpoints(folder)})
        assert "\n" not in str(caught.value) and not folder.exists()


@pytest.mark.parametrize(
    ("theirs", "says"),
    [
        (optax.lbfgs(), "one step of it fails"),
(optax.GradientTransformation(lambda p: (), lambda g, s, p: (jax.tree.map(lambda x: x[None], g), s)), "other shapes"),
        (optax.GradientTransformation(lambda p: jax.random.key(0), lambda g, s, p: (g, s)), "PRNGKey"),
    ],
)  # fmt: skip
def test_an_object_that_cannot_train_the_model_is_refused_before(theirs, says, promoting):
    with pytest.raises(logvar.LogvarError, match=says) as caught:
        fitted(theirs)
    assert "\n" not in str(caught.value)


def test_a_rescue_slows_an_object_down(promoting):
    vae = fitted(optax.sgd(3e3), epochs=4, on_divergence="rescue", rows=DIGITS.train[:600])
    assert len(vae.rescues_) >= 1 and vae.ended_ == "finished"
    assert "optimizer's" in vae.rescues_[0].remedy


def test_the_state_of_an_object_is_not_converted(promoting):
    vae = fitted(optax.adam(1e-3), epochs=1)
    with pytest.raises(logvar.LogvarError, match="optimizer that was given as an object"):
        convert(vae, "log-std", ROWS)
    vae.fitted_ = dataclasses.replace(vae.fitted_, state=None)
    assert convert(vae, "log-std", ROWS)[1].kind == "bitwise"


def test_momentum_moves_to_another_scale():
    vae = fitted("sgd(momentum=0.9)", learning_rate=1e-3)
    moved, _ = convert(vae, "log-std", ROWS, match=False)
    old, new = (v.fitted_.state.optimizer.velocity.encoder.head.kernel for v in (vae, moved))
    np.testing.assert_array_equal(new, old * np.array([1, 1, 2, 2], np.float32))


def test_an_estimator_with_an_object_is_cloned():
    vae = logvar.VAE(optimizer=optax.adam(1e-3))
    assert clone(vae).optimizer == vae.optimizer
    assert clone(logvar.VAE(optimizer="adam(b1=0.5)")).optimizer == "adam(b1=0.5)"


# The setting weight_decay, which was an argument once.


def test_the_old_setting_is_answered_with_its_new_spelling():
    for call in (
        lambda: logvar.VAE(weight_decay=1e-4),
        lambda: Recipe().replace(weight_decay=1e-4),
        lambda: logvar.compare(ROWS, weight_decay=1e-4),
    ):
        with pytest.raises(logvar.LogvarError, match=r"optimizer='adam\(weight_decay=0.0001\)'"):
            call()
    with pytest.raises(TypeError, match="unknown setting 'latent_dims': did you mean 'latent_dim'"):
        logvar.VAE(latent_dims=3)


@pytest.mark.parametrize(
    ("training", "now"),
    [
        ('optimizer = "adamw"\nweight_decay = 0.05', "adamw(weight_decay=0.05)"),
        ('optimizer = "adamw"\nweight_decay = 0.0', "adamw(weight_decay=0.0)"),
        ('optimizer = "sgd"\nweight_decay = 1', "sgd(weight_decay=1.0)"),
        ('optimizer = "adam"\nweight_decay = 0.0', "adam"),
        ("weight_decay = 0.5", "adam(weight_decay=0.5)"),
    ],
)
def test_recipes_of_version_0_1_are_read(training, now):
    recipe = Recipe.from_toml(f"[training]\n{training}\n")
    assert recipe.training.optimizer == now
    assert Recipe.from_toml(recipe.to_toml()) == recipe


@pytest.mark.parametrize(
    "training", ['weight_decay = "much"', 'optimizer = "adam(b1=0)"\nweight_decay = 1.0']
)
def test_an_old_setting_that_never_was_is_refused(training):
    with pytest.raises(logvar.LogvarError, match="weight_decay is"):
        Recipe.from_toml(f"[training]\n{training}\n")


# A run folder that version 0.1 wrote: VAE(latent_dim=1, hidden=(2,), epochs=2, optimizer="adamw",
# weight_decay=0.01, learning_rate=0.01, patience=0).fit(iris).save(…)

OLD = Path(__file__).parents[1] / "fixtures" / "run-0.1-adamw"


def test_a_run_of_version_0_1_is_loaded_and_resumed(tmp_path):
    X = load_iris().data.astype(np.float32)  # as version 0.1 fingerprinted it
    old = logvar.load(OLD)
    assert old.optimizer == "adamw(weight_decay=0.01)" and not hasattr(old, "weight_decay")
    last = old.history_[-1]["validation"]["elbo"]
    held_out = X[split(len(X), 0.1, 0)[1]]
    assert old.elbo(held_out, analytic_kl=True).mean() == pytest.approx(last, rel=1e-4)
    shutil.copytree(OLD / "checkpoints", tmp_path / "checkpoints")
    old.set_params(epochs=3)
    again = {"checkpoints": Checkpoints(tmp_path / "checkpoints", seconds=0), "resume": True}
    new = clone(old).fit(X, announce=lambda line: None, **again)
    assert new.n_iter_ == 3 and new.history_[:2] == old.history_
    with pytest.raises(
        logvar.LogvarError, match="optimizer was 'adamw', is 'adamw.weight_decay=0.02"
    ):
        clone(old).set_params(optimizer="adamw(weight_decay=0.02)").fit(X, **again)
