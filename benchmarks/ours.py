"""logvar's side of each comparison."""

import dataclasses
import functools
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import logvar
from data import mnist
from logvar import assembly, networks
from logvar.backend.ops import on_one_core
from logvar.data.order import epoch_order, split
from logvar.data.sources import load
from logvar.models.batch import Batch
from logvar.recipe import PRESETS, Recipe
from logvar.training.fleet.members import Member
from logvar.training.fleet.train import shares_for, train_fleet
from logvar.training.loop import train
from logvar.training.pace import Pace
from logvar.training.step import Chunk, Epoch, run_chunk
from products import alone, kernels_of_step, products_of_step, task_of
from run import SIZES, WIDTHS

MLP = {
    "network": "mlp(hidden=[512])", "latent_dim": 20, "batch_size": 128, "likelihood": "bernoulli",
}  # fmt: skip


def steps(recipe, rows, count):
    """A compiled chunk of so many steps on data that is already on the device."""
    run = assembly.build_run(recipe, assembly.TrainingData(rows))
    state, task = task_of(run)
    order = epoch_order(len(rows), run.plan.fixed.batch_size, 0, 0)
    on_device = Batch(jnp.asarray(run.rows.values))
    epoch = Epoch(on_device, jnp.asarray(order), jnp.asarray(len(rows)), jnp.asarray(0))
    bounds = jnp.asarray(0, jnp.int32), jnp.asarray(count, jnp.int32)
    held = [state]

    def repeat():
        held[0] = run_chunk(Chunk(task, epoch, *bounds), held[0])
        jax.block_until_ready(held[0].params)

    return repeat, count


def tutorial_step(precision="float32"):
    recipe = Recipe().replace(**PRESETS["tutorial"], precision=precision)
    return steps(recipe, mnist()[0], 100)


def mlp_step(precision="float32", darkest=0):
    """On MNIST, of whose pixels 0.81 are zero, or on the same with none that is darker than so."""
    return steps(Recipe().replace(**MLP, precision=precision), np.maximum(mnist()[0], darkest), 100)


def products(settings):
    """The products of such a model's step, without the rest of it."""
    run = assembly.build_run(Recipe().replace(**settings), assembly.TrainingData(mnist()[0][:1000]))
    return alone(products_of_step(run), run.model, 100)


def mlp_epoch():
    """A whole epoch as the user gets it: order, conversion, metrics and progress included."""
    rows = mnist()[0]
    recipe = Recipe().replace(**MLP, epochs=1, validation_fraction=0.0, patience=0)
    run = assembly.build_run(recipe, assembly.TrainingData(rows))
    states, pace = [None], Pace()

    def repeat():
        # The next epoch of the same run: what `fit` does between two lines of its progress bar.
        done = 0 if states[0] is None else int(states[0].step) // -(-len(rows) // 128)
        plan = dataclasses.replace(run.plan, epochs=done + 1)
        trained = train(
            run.model, run.rows, None, run.objective, plan, pace,
            coordinates=run.coordinates, state=states[0],
        )  # fmt: skip
        states[0] = trained.state

    return repeat, 1


DEFAULT = networks.get("mlp").hidden


def mlp(hidden):
    """The text of a multilayer perceptron with these hidden layers."""
    return networks.describe(networks.get("mlp", hidden=hidden))


def digits_runs(hidden=DEFAULT):
    rows = load("digits").train
    trained, held_out = split(len(rows), 0.1, 0)
    recipe = Recipe().replace(epochs=20, patience=0, network=mlp(hidden))
    data = assembly.TrainingData(rows[trained], rows[held_out])
    return [assembly.build_run(recipe.replace(random_state=s), data) for s in range(16)]


def fleet(hidden=DEFAULT):
    runs = digits_runs(hidden)
    first = runs[0]
    members = [Member(r.model, r.coordinates, s, 1e-3) for s, r in enumerate(runs)]

    def repeat():
        train_fleet(
            members, first.rows, first.validation, first.objective, first.plan,
        )  # fmt: skip

    return repeat, 1


def fleet_without_the_rest(of_step):
    """Products or kernels of the fleet's steps, one model after another in each of its shares."""
    run = digits_runs()[0]
    shares = shares_for(16)
    with on_one_core(shares > 1):
        found = of_step(run)
    steps = 20 * -(-len(run.rows) // 128)
    repeat, _ = alone(found, run.model, 16 // shares * steps, shares)
    return repeat, 1


def singles(hidden=DEFAULT):
    """Sixteen fits as a user would make them: the estimator, one after the other."""
    rows = load("digits").train

    def repeat():
        for seed in range(16):
            logvar.VAE(epochs=20, patience=0, network=mlp(hidden), random_state=seed).fit(rows)

    return repeat, 1


def trained_mlp():
    train_rows, test_rows = mnist()
    vae = logvar.VAE(**MLP, epochs=1, patience=0, validation_fraction=0.0).fit(train_rows[:5000])
    return vae, train_rows, test_rows


def likelihood():
    vae, _, test_rows = trained_mlp()
    return lambda: vae.score_samples(test_rows[:1000], n_samples=500), 1


def encode():
    vae, train_rows, _ = trained_mlp()
    return lambda: vae.transform(train_rows), 1


def scaling(rows):
    """The MLP's step on so many rows of random pixels: seconds for each step."""

    def setup():
        data = np.random.default_rng(0).integers(0, 255, (rows, 64), dtype=np.uint8)
        recipe = Recipe().replace(likelihood="bernoulli", network=mlp((256, 128)))
        return steps(recipe, data, 70)

    return setup


def sized(batch, width, latents):
    """A step of an MLP of that size on MNIST: seconds for each."""

    def setup():
        recipe = Recipe().replace(
            **MLP | {"batch_size": batch, "network": mlp((width,)), "latent_dim": latents}
        )
        return steps(recipe, mnist()[0][: 20 * batch], 20)

    return setup


def product():
    """One matrix product of 1024³, the machine's own rate: seconds for each."""
    x = jnp.ones((1024, 1024))
    multiply = eqx.filter_jit(lambda a, b: a @ b)

    def repeat():
        for _ in range(10):
            jax.block_until_ready(multiply(x, x))

    return repeat, 10


WORKS = {
    "logvar-tutorial-step": tutorial_step,
    "logvar-tutorial-step-bfloat16": lambda: tutorial_step("bfloat16"),
    "logvar-tutorial-products": lambda: products(PRESETS["tutorial"]),
    "logvar-mlp-step": mlp_step,
    "logvar-mlp-step-bfloat16": lambda: mlp_step("bfloat16"),
    "logvar-mlp-step-no-zeros": lambda: mlp_step(darkest=np.uint8(1)),
    "logvar-mlp-products": lambda: products(MLP),
    "logvar-mlp-epoch": mlp_epoch,
    "logvar-fleet": fleet,
    "logvar-fleet-products": lambda: fleet_without_the_rest(products_of_step),
    "logvar-fleet-kernels": lambda: fleet_without_the_rest(kernels_of_step),
    "logvar-singles": singles,
    **{
        f"logvar-{kind}-{name}": functools.partial(work, widths)
        for kind, work in (("fleet", fleet), ("singles", singles))
        for name, widths in WIDTHS.items()
    },
    "logvar-likelihood": likelihood,
    "logvar-encode": encode,
    "logvar-product": product,
    **{f"logvar-rows-{n}": scaling(n) for n in (10_000, 100_000, 1_000_000)},
    **{"logvar-size-" + "-".join(map(str, size)): sized(*size) for size in SIZES},
}

if __name__ == "__main__":
    # How long each takes here, without a peer: python ours.py
    for name, setup in WORKS.items():
        run, units = setup()
        run()
        started = time.perf_counter()
        run()
        print(f"{name:<24} {(time.perf_counter() - started) / units:.5f} s")
