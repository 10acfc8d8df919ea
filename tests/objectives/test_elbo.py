"""The ELBO's schedules: warm-up, cycles, capacity."""

import jax
import numpy as np
import pytest

import logvar
from logvar.assembly.cautions import cautions
from logvar.models.batch import Batch
from logvar.objectives import base
from logvar.recipe import Recipe
from tests.objectives.tiny import linear_model, moment, some_rows

STEPS = 4
"""In an epoch."""


def expected(step, warmup, cycles):
    """β of a step, counted one by one."""
    risen = 0
    for _ in range(cycles):
        for number in range(int(2 * warmup * STEPS)):
            value = min((number + 1) / (warmup * STEPS), 1.0)
            if risen == step:
                return value
            risen += 1
    return 1.0


@pytest.mark.parametrize("warmup", [0.0, 0.5, 2.0])
def test_what_is_warmed_up_once_rises_and_stays(warmup):
    got = [float(base.risen(warmup, moment(step, STEPS))) for step in range(40)]
    np.testing.assert_allclose(got, [expected(step, warmup, 1) for step in range(40)], rtol=1e-6)


@pytest.mark.parametrize(("warmup", "cycles"), [(2, 1), (2, 3), (0.5, 2)])
def test_beta_rises_and_holds_in_each_cycle(warmup, cycles):
    objective = logvar.objectives.get("elbo", beta=3.0, warmup=float(warmup), cycles=cycles)
    got = [float(objective.beta_at(moment(step, STEPS))) for step in range(60)]
    of_each = [3 * expected(step, warmup, cycles) for step in range(60)]
    np.testing.assert_allclose(got, of_each, rtol=1e-6)
    last = max(step for step in range(60) if of_each[step] < 3)
    assert objective.settled_after == (last + 2) / STEPS


@pytest.mark.parametrize("step", [0, 3, 7, 30])
def test_a_capacity_holds_the_kl(step):
    """γ·|KL − C(t)| − log p(x | z), from the terms."""
    objective = logvar.objectives.get("elbo(capacity=3, gamma=7, warmup=2)")
    model, rows = linear_model(2), some_rows(5).astype(np.float32)
    eps = np.random.default_rng(1).normal(size=(5, 1, 2)).astype(np.float32)
    value = jax.jit(lambda at: objective(model, Batch(rows), eps, at))
    loss, terms = value(moment(step, STEPS))
    risen = min((step + 1) / (2 * STEPS), 1.0)
    kl = float(np.sum(terms.kl))
    by_hand = 7 * abs(kl - 3 * risen) - float(terms.log_likelihood)
    assert kl > 0.4  # above C at first, below it at last
    assert float(loss) == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("elbo(capacity=5, free_bits=0.1)", "give one of them"),
        ("elbo(capacity=5, beta=2)", r"elbo\(capacity=5, gamma=2\)"),
        ("elbo(cycles=3)", r"elbo\(warmup=10, cycles=3\)"),
        ("renyi(alpha=1)", "the ELBO.*another alpha"),
    ],
)
def test_settings_that_exclude_each_other(text, said):
    with pytest.raises(logvar.LogvarError, match=said) as raised:
        logvar.objectives.get(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("elbo(warmup=40, beta=4)", "β takes 40 epochs and training ends after 20: β reaches 2"),
        ("elbo(warmup=40, capacity=10)", "the capacity reaches 5 nats"),
        ("elbo(warmup=8, cycles=3)", "in cycle 2, where β is 0.5"),
    ],
)
def test_a_run_that_ends_before_says_so(text, said):
    objective = logvar.objectives.get(text)
    (line,) = cautions(Recipe().replace(epochs=20), objective, 900, 100)
    assert said in line
    assert not cautions(Recipe().replace(epochs=40), objective, 900, 100)
