"""Every registered schedule walks into this suite by itself: formulas, programs, resuming, fleets."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import logvar
from logvar.runs.checkpoints import Checkpoints
from logvar.training import schedules
from logvar.training.schedules import SCHEDULES, Length
from logvar.training.step import run_chunk
from tests.training.test_fleet import fleet, runs, single
from tests.training.test_training import DIGITS, Chunks, as_bytes, run

LENGTH = Length(epochs=20, steps_per_epoch=5)
STEPS = np.arange(100)
TEXTS = [
    "constant(0.01)",
    "constant(0.01, warmup=2.5)",
    "constant(0.01, warmup=7, unit=steps)",
    "cosine(0.01)",
    "cosine(0.01, warmup=3, final=0.1)",
    "cosine(0.01, warmup=11, unit=steps)",
    "exponential(0.01, 0.9)",
    "exponential(0.01, 0.5, every=30, warmup=4, unit=steps)",
    "piecewise(0.01, [10, 15])",
    "piecewise(0.01, [3, 40, 90], factor=0.5, warmup=6, unit=steps)",
]
ROWS = DIGITS.train[:128]
SMALL = {
    "latent_dim": 2,
    "network": "mlp(hidden=[8])",
    "batch_size": 64,
    "epochs": 4,
    "patience": 0,
}


def rates(text, length=LENGTH):
    schedule = schedules.get(text)
    built = schedule.rates(schedule.rate, length)
    return np.asarray(
        [built(jnp.asarray(t)) for t in range(length.epochs * length.steps_per_epoch)]
    )


def in_numpy(text, length=LENGTH):
    """In float64, from the formulas in words."""
    s = schedules.get(text)
    total = length.epochs * length.steps_per_epoch
    t = np.arange(total, dtype=float)
    unit = length.steps_per_epoch if s.unit == "epochs" else 1
    w = s.warmup * unit
    warm = np.where(t < w, (t + 1) / (w + 1), 1.0)
    since = np.maximum(t - w, 0)
    shape = {
        "Constant": lambda: 1.0,
        "Cosine": lambda: s.final + (1 - s.final) * (1 + np.cos(np.pi * since / (total - w))) / 2,
        "Exponential": lambda: s.decay ** (since / (s.every * unit)),
        "Piecewise": lambda: s.factor ** sum((t >= at * unit).astype(float) for at in s.at),
    }[type(s).__name__]()
    return s.rate * warm * shape


def test_every_schedule_is_in_this_suite():
    assert {text.split("(")[0] for text in TEXTS} == set(schedules.names())


@pytest.mark.parametrize("text", TEXTS)
def test_rates_are_those_of_the_formula(text):
    np.testing.assert_allclose(rates(text), in_numpy(text), rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("text", "theirs"),
    [
        ("cosine(0.01)", optax.cosine_decay_schedule(0.01, 100)),
        ("cosine(0.01, final=0.1)", optax.cosine_decay_schedule(0.01, 100, alpha=0.1)),
        ("cosine(0.01, warmup=4)", optax.warmup_cosine_decay_schedule(0.01 / 21, 0.01, 20, 100)),
        ("exponential(0.01, 0.9)", optax.exponential_decay(0.01, 5, 0.9)),
        ("piecewise(0.01, [10, 15])", optax.piecewise_constant_schedule(0.01, {50: 0.1, 75: 0.1})),
        ("constant(0.01)", optax.constant_schedule(0.01)),
    ],
)  # fmt: skip
def test_rates_are_those_of_optax(text, theirs):
    with jax.numpy_dtype_promotion("standard"):
        expected = np.asarray([theirs(t) for t in range(100)])
    np.testing.assert_allclose(rates(text), expected, rtol=2e-5, atol=1e-9)


def test_the_first_and_last_steps():
    warm = rates("cosine(0.01, warmup=3, final=0.1)")  # of 15 steps, in 100
    assert warm[0] == pytest.approx(0.01 / 16) and warm[15] == pytest.approx(0.01)
    assert 0.001 < warm[-1] < 0.00101
    assert (rates("piecewise(1, [2])")[[9, 10]] == np.float32([1, 0.1])).all()


@pytest.mark.parametrize("text", TEXTS)
def test_a_schedule_is_written_down_and_a_plain_rate_is_a_number(text):
    schedule = schedules.get(text)
    assert schedules.get(schedules.describe(schedule)) == schedule == schedules.get(schedule)
    plain = text == "constant(0.01)"
    assert schedules.written(text) == (0.01 if plain else schedules.describe(text))


def test_a_number_stands_for_a_constant_rate():
    assert schedules.get(0.5) == schedules.get("constant(0.5)")


@pytest.mark.parametrize(
    ("first", "other", "shared"),
    [
        (1e-3, "constant(1e-2)", True),
        ("cosine(1e-3)", "cosine(1e-2, warmup=1, final=0.3)", True),
        ("cosine(1e-3)", "cosine(1e-3, warmup=3, unit=steps)", True),
        ("piecewise(1e-3, [1])", "piecewise(2e-3, [2], factor=0.5, warmup=1)", True),
        ("cosine(1e-3)", "exponential(1e-3, 0.9)", False),
    ],
)
def test_other_numbers_compile_nothing(first, other, shared):
    run(Chunks(50), learning_rate=first, epochs=2)
    before = run_chunk.programs()
    run(Chunks(50), learning_rate=other, epochs=3, random_state=1)
    assert (run_chunk.programs() == before) is shared


def test_a_run_takes_each_steps_rate():
    """SGD by hand: the same gradients, so steps in the ratio of the rates; 10 steps in 2 epochs."""
    start = run(Chunks(1, stop_after=0), optimizer="sgd", epochs=2)
    moved = {}
    for rate in (1e-3, "constant(1e-3, warmup=4, unit=steps)"):
        after = run(Chunks(1, stop_after=1), optimizer="sgd", epochs=2, learning_rate=rate)
        steps = jax.tree.map(jnp.subtract, start.state.params, after.state.params)
        moved[rate] = float(optax.tree.norm(steps))
    first, warm = moved.values()
    assert warm == pytest.approx(first / 5, rel=1e-3)
    history = run(Chunks(50), epochs=2, learning_rate="exponential(1e-3, 0.5)").history
    assert [m.learning_rate for m in history] == pytest.approx([1e-3 * 0.5**0.8, 1e-3 * 0.5**1.8])


def test_a_constant_rate_is_not_written_to_each_line_of_the_metrics():
    history = run(Chunks(50), epochs=1).history
    assert "learning_rate" not in history[0].as_dict()


def fitted(rate, epochs=4, fit=None, **settings):
    vae = logvar.VAE(**SMALL | {"epochs": epochs, "learning_rate": rate} | settings)
    return vae.fit(ROWS, **(fit or {}))


def resumed(folder, rate, epochs, before):
    fitted(rate, before, {"checkpoints": Checkpoints(folder, seconds=0)})
    return fitted(rate, epochs, {"checkpoints": Checkpoints(folder, seconds=0), "resume": True})


@pytest.mark.parametrize(
    "rate", ["exponential(1e-2, 0.5)", optax.linear_schedule(1e-2, 1e-3, 8)], ids=["text", "object"]
)
def test_a_schedule_without_an_end_resumes_with_more_epochs_to_the_same_bytes(tmp_path, rate):
    with jax.numpy_dtype_promotion("standard"):
        rest, whole = resumed(tmp_path, rate, 4, 2), fitted(rate)
    assert as_bytes(rest.fitted_.state) == as_bytes(whole.fitted_.state)
    assert rest.history_ == whole.history_
    assert rest.recipe_.training.learning_rate == schedules.written(rate)


def test_a_schedule_that_runs_to_the_end_is_not_resumed_with_other_epochs(tmp_path):
    reason = "epochs was 2, is 4, and learning_rate 'cosine.*' runs to their end"
    with pytest.raises(logvar.LogvarError, match=reason) as caught:
        resumed(tmp_path, "cosine(1e-2, warmup=1)", 4, 2)
    assert "\n" not in str(caught.value)
    told = []
    allowed = Checkpoints(tmp_path, seconds=0, changes_allowed=True)
    fitted("cosine(0.01, 1)", 4, {"checkpoints": allowed, "resume": True, "announce": told.append})
    assert any("in spite of a change: epochs was 2" in line for line in told)


def test_an_interrupted_schedule_goes_on_to_the_same_bytes(tmp_path):
    whole = run(Chunks(2), learning_rate="cosine(1e-2, warmup=1)")
    part = run(Chunks(2, stop_after=4), learning_rate="cosine(1e-2, warmup=1)")
    rest = run(Chunks(3), learning_rate="cosine(1e-2, warmup=1)", state=part.state)
    assert as_bytes(rest.state) == as_bytes(whole.state)


def test_a_schedule_as_an_object_is_asked_for_again(tmp_path):
    with jax.numpy_dtype_promotion("standard"):
        vae = fitted(optax.cosine_decay_schedule(1e-2, 8))
    assert vae.recipe_.training.learning_rate == "custom"
    loaded = logvar.load(vae.save(tmp_path / "run"))
    with pytest.raises(logvar.LogvarError, match="learning_rate 'custom' stands for an object"):
        loaded.fit(ROWS)


@pytest.mark.parametrize("text", ["cosine(1e-2, warmup=2)", "piecewise(1e-2, [4])"])
def test_a_member_of_a_fleet_with_its_own_rate_equals_its_single_run(text):
    several = [
        *runs((text,), (0, 1), patience=0, epochs=6),
        *runs((text.replace("1e-2", "1e-3"),), (0, 1), patience=0, epochs=6),
    ]
    for one, member in zip(several, fleet(several), strict=True):
        elbos = [line.validation["elbo"] for line in single(one).history]
        np.testing.assert_allclose([e["validation_elbo"] for e in member.curve], elbos, rtol=2e-5)


def test_a_rescue_multiplies_the_schedule():
    schedule = schedules.get("cosine(0.3, warmup=1)")
    slower = schedule.rates(0.3 / 5, LENGTH)
    np.testing.assert_allclose(
        [slower(jnp.asarray(t)) for t in (0, 7, 50)], rates("cosine(0.3, warmup=1)")[[0, 7, 50]] / 5,
        rtol=1e-6,
    )  # fmt: skip
    vae = logvar.VAE(scale="log-std", learning_rate="cosine(0.3)", epochs=4, patience=0,
                     network="mlp(hidden=[64], initialization=glorot)", latent_dim=4,
                     on_divergence="rescue").fit(DIGITS.train)  # fmt: skip
    back = vae.rescues_[0]
    peak, total = 0.3, 4 * -(-vae.data_["rows"] // 128)
    steps = np.array([line["step"] - 1 for line in vae.history_])
    expected = peak * (1 + np.cos(np.pi * steps / total)) / 2
    expected /= 5.0 ** np.array([line["rescues"] for line in vae.history_])
    np.testing.assert_allclose(
        [line["learning_rate"] for line in vae.history_], expected, rtol=1e-4
    )
    assert "a learning rate below 0.2" in back.remedy  # of that step, below the peak


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("cosin(1e-3)", "unknown learning rate schedule 'cosin': did you mean 'cosine'"),
        ("cosine(1e-3, warmp=2)", "did you mean 'warmup'"),
        ("cosine(0)", "rate is 0, expected above 0"),
        ("cosine(1e-3, final=2)", "final is 2, expected at least 0 and at most 1"),
        ("cosine(1e-3, warmup=-1)", "warmup is -1, expected at least 0"),
        ("cosine(1e-3, unit=hours)", "unit is 'hours', expected one of epochs, steps"),
        ("cosine(1e-3, warmup=4)", "warm-up of 8 steps leaves nothing of the run's 8"),
        ("cosine", "missing .* argument: 'rate'; write it as .cosine.rate="),
        ("piecewise(1e-3)", "missing .* argument: 'at'"),
        ("exponential(1e-3, decay=1.5)", "decay is 1.5, expected above 0 and at most 1"),
        ("custom", "stands for an object"),
        ("0.001)", "cannot be read"),
        (-1.0, "expected a positive number"),
        (None, "schedule is None: expected a name"),
        (lambda step: jnp.ones(3), "returns shape .3,.: expected one number"),
        (lambda: 1e-3, "expected a function from the step to the rate"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line_and_nothing_is_written(tmp_path, given, says):
    with pytest.raises(logvar.LogvarError, match=says) as caught:
        fitted(given, fit={"checkpoints": Checkpoints(tmp_path / "checkpoints", seconds=0)})
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", schedules.names())
def test_a_schedule_documents_its_formula(name):
    assert "rate" in inspect.getdoc(SCHEDULES.entries[name].build)
