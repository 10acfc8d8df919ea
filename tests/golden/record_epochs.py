"""Record the ELBO of TensorFlow's training, epoch by epoch, with logvar's order and noise.

Twice, with one file between two environments, that of the tests and that of `make bench`:

    .venv/bin/python -m tests.golden.record_epochs numbers.npz
    benchmarks/.venv/bin/python tests/golden/record_epochs.py numbers.npz train

The first writes initial weights, images, orders and noise; the second trains and prints the values
that `test_epochs_of_fit` holds.
"""

import sys
from pathlib import Path

import numpy as np

EPOCHS, BATCH, SEED = 6, 32, 0


def write(path):
    import jax
    import jax.numpy as jnp

    from logvar.data.order import epoch_order
    from logvar.randomness import Gaussian
    from logvar.randomness import noise as drawn
    from logvar.training.step import Keys
    from tests.golden.recorded import LAYERS, STEPS, images

    x = images("test_first512")
    steps = len(x) // BATCH

    def noise(epoch):
        keys = Keys.of_epoch(jnp.asarray(SEED), epoch)
        return jax.vmap(lambda t: drawn(Gaussian((2,)), keys.at(t).noise, (BATCH,)))(
            jnp.arange(steps)
        )

    names = [f"initial/{layer}/{part}" for layer in LAYERS for part in ("kernel", "bias")]
    np.savez(
        path,
        images=x,
        orders=[
            epoch_order(len(x), BATCH, SEED, e)[: len(x)].reshape(steps, BATCH)
            for e in range(EPOCHS)
        ],
        noise=[noise(epoch) for epoch in range(EPOCHS)],
        **{f"weight{i}": STEPS[name] for i, name in enumerate(names)},
    )


def train(path):
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    from tensorflow_tutorial import networks, training_step

    numbers = np.load(path)
    weights = [numbers[f"weight{i}"] for i in range(14)]
    encoder, decoder = networks()
    encoder.set_weights(weights[:6])
    decoder.set_weights(weights[6:])
    step = training_step(encoder, decoder)
    for order, noise in zip(numbers["orders"], numbers["noise"], strict=True):
        batches = zip(numbers["images"][order], noise, strict=True)
        losses = [float(step(x, eps)) for x, eps in batches]
        print(f"{-np.mean(losses):.4f}")


if __name__ == "__main__":
    (train if sys.argv[2:] == ["train"] else write)(sys.argv[1])
