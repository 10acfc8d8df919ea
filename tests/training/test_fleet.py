"""Many models at once: each member ends as its single run does."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logvar import assembly
from logvar.backend.compiling import host_int
from logvar.data.examples import examples_of
from logvar.data.order import epoch_order, padded, split
from logvar.data.sources import load
from logvar.evaluation.elbo import HeldOut
from logvar.models.batch import Batch
from logvar.recipe import Recipe
from logvar.training.fleet import members as members_module
from logvar.training.fleet import train as fleet_module
from logvar.training.fleet.members import Member
from logvar.training.fleet.train import train_fleet
from logvar.training.loop import train
from logvar.training.pace import Pace
from logvar.training.schedules import Length
from logvar.training.step import Epoch
from tests.cases import slow, some

DIGITS = load("digits").train[:400]
TRAIN, HELD_OUT = (DIGITS[rows] for rows in split(len(DIGITS), 0.2, 0))
DATA = assembly.TrainingData(TRAIN, HELD_OUT)
SETTINGS = {
    "latent_dim": 3,
    "network": "mlp(hidden=[16])",
    "batch_size": 50,
    "epochs": 12,
    "binarization": "dynamic",
}


@pytest.fixture(params=["at once", "in turn"])
def both_ways(request, monkeypatch):
    """However small the models are; on a CPU, that is, for elsewhere no member takes a turn."""
    worth = 0 if request.param == "in turn" else 2**60
    monkeypatch.setattr(members_module, "_WORTH_A_TURN", worth)
    return request.param


def ways(*quick):
    """Both ways, of which `make test` takes these."""
    return pytest.mark.parametrize("both_ways", some(["at once", "in turn"], quick), indirect=True)


class Steps(Pace):
    """Chunks of a fixed length."""

    def __init__(self, steps=4):
        super().__init__()
        self._steps = steps

    def chunk_steps(self):
        return self._steps

    def on_chunk(self, *arguments):
        pass


def runs(rates, seeds, **settings):
    recipes = [
        Recipe().replace(**(SETTINGS | settings), learning_rate=rate, random_state=seed)
        for rate in rates
        for seed in seeds
    ]
    return [assembly.build_run(recipe, DATA) for recipe in recipes]


def fleet(runs, pace=Steps, **options):
    members = [Member(r.model, r.coordinates, r.plan.seed, r.plan.schedule.rate) for r in runs]
    first = runs[0]
    return train_fleet(
        members, first.rows, first.validation, first.objective, first.plan, pace=pace, **options
    )


def single(run):
    return train(
        run.model, run.rows, run.validation, run.objective, run.plan, Steps(),
        coordinates=run.coordinates,
    )  # fmt: skip


CLIPPED = {"clip_norm": 30.0}
SGD = {"scale": "softplus", "optimizer": "sgd", "clip_norm": 1.0}
REAL = {"likelihood": "normal(noise=optimal)", "binarization": "none"}
CRITIC = {"objective": "factor(hidden=[8])", "average_weights": 0.9}


@pytest.mark.parametrize(
    ("both_ways", "settings"),
    [
        ("at once", CLIPPED),
        ("in turn", REAL),
        ("at once", CRITIC),
        slow("in turn", CRITIC),
        slow("in turn", CLIPPED),
        slow("at once", SGD),
        slow("in turn", SGD),
        slow("at once", REAL),
    ],
    indirect=["both_ways"],
)
def test_a_member_equals_its_single_run_to_rounding(both_ways, settings):
    several = runs((1e-3, 1e-2), (0, 1), patience=0, **settings)
    for run, member in zip(several, fleet(several), strict=True):
        alone = single(run)
        assert member.ended == alone.ended == "finished"
        assert [e["epoch"] for e in member.curve] == [line.epoch for line in alone.history]
        elbos = [line.validation["elbo"] for line in alone.history]
        np.testing.assert_allclose([e["validation_elbo"] for e in member.curve], elbos, rtol=2e-5)
        for ours, theirs in zip(
            jax.tree.leaves(member.model), jax.tree.leaves(alone.model), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize(
    ("both_ways", "shares"),
    [("in turn", 2), slow("in turn", 4), slow("at once", 2), slow("at once", 4)],
    indirect=["both_ways"],
)
def test_shares_change_nothing(both_ways, shares):
    """Nor does it matter which of them is done first: four members in one share and in several."""
    several = runs((3e-2, 1e-4), (0, 1), patience=2, epochs=8)
    for one, other in zip(fleet(several, shares=1), fleet(several, shares=shares), strict=True):
        assert (one.ended, one.best_epoch) == (other.ended, other.best_epoch)
        np.testing.assert_allclose(
            [e["validation_elbo"] for e in one.curve],
            [e["validation_elbo"] for e in other.curve], rtol=2e-5,
        )  # fmt: skip


def test_an_interruption_in_one_share_ends_the_others():
    several = runs((1e-3,), (0, 1, 2, 3), patience=0, epochs=100_000)

    class Interrupted(Steps):
        def on_chunk(self, epoch, *rest):
            if epoch == 3:
                raise KeyboardInterrupt

    paces, epochs = iter([Interrupted(), Steps()]), []
    with pytest.raises(KeyboardInterrupt):
        fleet(several, lambda: next(paces), shares=2, on_epoch=lambda *seen: epochs.append(seen[0]))
    assert max(epochs) < 10_000


@ways("at once")
def test_members_stop_early_each_on_its_own(both_ways):
    several = runs((3e-2, 1e-4), (0, 1), patience=2, epochs=40)
    seen = []
    members = fleet(several, on_epoch=lambda epoch, training: seen.append(training))
    alone = [single(run) for run in several]
    for member, run in zip(members, alone, strict=True):
        assert member.ended == run.ended
        assert len(member.curve) == len(run.history)
        assert member.best_epoch == int(run.state.best_epoch)
        assert member.best_elbo == pytest.approx(float(run.state.best_elbo), rel=1e-4)
    assert len({len(member.curve) for member in members}) > 1
    assert seen == sorted(seen, reverse=True) and seen[0] == 4


OPTIMIZERS = pytest.mark.parametrize("optimizer", ["adam", slow("sgd")])


@OPTIMIZERS
@ways("in turn")
def test_a_diverged_member_stays_as_it_was_and_the_others_go_on(both_ways, optimizer):
    several = runs((1e-3, 1e9), (0,), optimizer=optimizer, patience=0)
    good, bad = fleet(several)
    alone = single(several[1])
    assert good.ended == "finished" and bad.ended == alone.ended == "not finite"
    assert bad.failed_step == alone.diagnosis.step
    assert good.best_elbo == pytest.approx(float(single(several[0]).state.best_elbo), rel=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(bad.model))


@OPTIMIZERS
@ways("in turn")
def test_a_fleet_may_diverge_as_a_whole(both_ways, optimizer):
    several = runs((1e9,), (0, 1), optimizer=optimizer, patience=0)
    assert [(m.ended, m.curve) for m in fleet(several)] == [("not finite", [])] * 2


@ways("at once")
def test_the_length_of_a_chunk_changes_nothing(both_ways):
    several = runs((1e-3,), (0, 1), epochs=3)
    for one, other in zip(
        fleet(several, lambda: Steps(1)), fleet(several, lambda: Steps(100)), strict=True
    ):
        assert one.curve == other.curve


@pytest.mark.parametrize("many", [slow(80), 1100])
def test_quantiles_are_those_of_the_first_held_out_raw_outputs(many):
    (run,) = runs((1e-3,), (0,), epochs=1, binarization="none")
    held_out = np.resize(HELD_OUT, (many, *HELD_OUT.shape[1:]))
    held_out[1024:] = 0
    (member,) = fleet([dataclasses.replace(run, validation=examples_of(held_out))])
    raw = np.asarray(jax.vmap(member.model.encode)(Batch(HELD_OUT[:many]))["raw"])
    raw = np.resize(raw, (min(many, 1024), raw.shape[1]))
    for name, at in (("raw_0", 0), ("raw_0.05", 0.05), ("raw_0.5", 0.5), ("raw_1", 1)):
        np.testing.assert_allclose(
            member.curve[-1][name], np.quantile(raw, at), rtol=1e-3, atol=1e-5
        )


def first_steps(runs, steps, active, side_by_side=False):
    """A chunk of an epoch of seven steps, with the states that it begins with.

    Rows and orders are padded as a fleet's are, so that the programs are the same.
    """
    members = [Member(r.model, r.coordinates, r.plan.seed, 1e-3) for r in runs]
    first = runs[0]
    length = Length(first.plan.epochs, 7)
    stacked, states = members_module.assembled(
        members, first.objective, first.plan, length, side_by_side
    )
    orders = np.stack([epoch_order(len(first.rows), 50, r.plan.seed, 0) for r in runs])
    n = len(first.rows)
    epoch = Epoch(Batch(jnp.asarray(padded(first.rows.values))), orders, host_int(n), host_int(0))
    held_out = HeldOut.of(first.validation)
    bounds = np.asarray(active), host_int(0), host_int(steps)
    return members_module.FleetChunk(stacked, epoch, held_out, *bounds), states


def test_nothing_goes_to_the_host_within_an_epoch(both_ways):
    """The compiled loop calls nothing outside: no callback, no feed, no transfer per step."""
    several = runs((1e-3,), (0, 1), epochs=1)
    chunk = first_steps(several, 7, [True] * 2)
    program = str(eqx.filter_make_jaxpr(members_module.take_all_steps)(*chunk)[0])
    assert "while" in program
    for outside in ("callback", "infeed", "outfeed", "device_put", "debug_print"):
        assert outside not in program, outside


def test_whose_turn_it_is():
    """Large models take their steps one after another, and none that has stopped takes any."""
    (small,), (large,) = (
        runs((1e-3,), (0,), network=f"mlp(hidden=[{width}])") for width in (16, 512)
    )
    assert not first_steps([small], 1, [True])[0].fleet.in_turn
    assert first_steps([large], 1, [True])[0].fleet.in_turn == (jax.default_backend() == "cpu")


def test_a_member_that_has_stopped_takes_no_turn(monkeypatch):
    monkeypatch.setattr(members_module, "_WORTH_A_TURN", 0)
    chunk, states = first_steps(runs((1e-3,), (0, 1)), 7, [False, True])
    before = jax.tree.map(np.array, states)  # copies, because `run_all` takes their memory
    after, seen = members_module.run_all(chunk, states)
    np.testing.assert_array_equal(after.step, [0, 7])
    np.testing.assert_array_equal(np.isfinite(seen.elbo), [False, True])
    for old, new in zip(jax.tree.leaves(before.params), jax.tree.leaves(after.params), strict=True):
        np.testing.assert_array_equal(old[0], new[0])
        assert (old[1] != new[1]).any()


@pytest.mark.parametrize("other", ["stopped", "failed"])
@ways("at once")
def test_the_end_of_an_epoch_comes_with_its_last_step(both_ways, other):
    """For the first of two members; the other has stopped or failed before."""
    several, active = runs((1e-3,), (0, 1)), [True, other != "stopped"]
    (six, states), (seven, _) = (first_steps(several, n, active) for n in (6, 7))
    failed = np.asarray([-1, 0 if other == "failed" else -1], np.int32)
    states = eqx.tree_at(lambda states: states.failed_step, states, jnp.asarray(failed))

    def taken(chunk, states):  # which gives away the memory of its states
        return members_module.run_all(chunk, jax.tree.map(jnp.array, states))

    before, seen = taken(six, states)
    assert np.isneginf(seen.elbo).all() and np.isneginf(seen.raw).all()
    assert before.totals.count[0] == 6 * 50 and not before.best_epoch.any()
    after, seen = taken(seven, states)
    assert np.isfinite(seen.elbo[0]) and np.isfinite(seen.raw[0]).all()
    assert not any(total.any() for total in jax.tree.leaves(after.totals))
    # The weights of a member that still trains are the best so far; of the other, none.
    np.testing.assert_array_equal(after.best_epoch, [1, 0])
    np.testing.assert_array_equal(seen.failed_step, failed)
    assert after.best_elbo[0] == seen.elbo[0] and np.isneginf(after.best_elbo[1:]).all()
    trees = after.best_params, after.params, states.best_params
    for best, last, first in zip(*map(jax.tree.leaves, trees), strict=True):
        np.testing.assert_array_equal(best[0], last[0])
        np.testing.assert_array_equal(best[1:], first[1:])


@pytest.mark.parametrize(
    ("stopped", "ended", "at"), [(True, "stopped early", 0), (False, "not finite", 8)]
)
def test_a_member_that_failed_after_it_had_stopped_has_stopped(stopped, ended, at):
    chunk, states = first_steps(runs((1e-3,), (0,)), 1, [True])
    states = eqx.tree_at(lambda states: states.failed_step, states, jnp.asarray([7]))
    states = jax.tree.map(np.asarray, states)
    raised = fleet_module._trained_member(states, chunk.fleet.static, 0, [], stopped)
    assert (raised.ended, raised.failed_step) == (ended, at)
