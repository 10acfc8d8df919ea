"""Encode, decode and draw in blocks of rows, as NumPy arrays."""

import jax
import numpy as np
from jaxtyping import Array

from logvar.backend.compiling import host_int
from logvar.data.examples import Examples, examples_of
from logvar.data.preparation import Preparation
from logvar.evaluation.blocks import in_blocks
from logvar.models.base import Model
from logvar.models.batch import Batch
from logvar.randomness import Purpose, row_key, stream


def encode(
    model: Model, rows: np.ndarray | Examples, preparation: Preparation, seed: int
) -> dict[str, np.ndarray]:
    """Return the code of each row: the encoder's outputs by head.

    Dynamic binarization is a function of (seed, the row's bytes).
    """
    examples = examples_of(rows)
    # Hashing rows for noise that is never drawn would take a fifth of the time.
    words = examples.words if preparation.draws else np.zeros((len(examples), 2), np.uint32)
    return in_blocks(_encode, (model, preparation, host_int(seed)), examples.values, words)


def decode(model: Model, latents: np.ndarray) -> np.ndarray:
    """Return E[x | z] for each row of latents, in the units that the model sees x in."""
    return in_blocks(_decode, model, latents)


def reconstruct(
    model: Model, rows: np.ndarray | Examples, preparation: Preparation, seed: int
) -> np.ndarray:
    """Return E[x | z] at the posterior mean of each row, in the units that the model sees x in.

    Counts are at the row's own library size.
    """
    examples = examples_of(rows)
    words = examples.words if preparation.draws else np.zeros((len(examples), 2), np.uint32)
    return in_blocks(_reconstruct, (model, preparation, host_int(seed)), examples.values, words)


def draw(model: Model, n: int, seed: int, *, mean: bool) -> np.ndarray:
    """Draw x, or E[x | z], n times from the model; draw i is a function of (seed, i)."""
    task = (model, host_int(seed))
    indices = np.arange(n, dtype=np.uint32)
    return in_blocks(_sample_means if mean else _samples, task, indices)


def _encode(task: tuple, rows: Array, words: Array):
    model, preparation, seed = task

    def row(row: Array, word: Array):
        key = row_key(seed, Purpose.BINARIZATION, word)
        return model.encode(Batch(*preparation.parts(row, key)))

    return jax.vmap(row)(rows, words)


def _reconstruct(task: tuple, rows: Array, words: Array):
    model, preparation, seed = task

    def row(row: Array, word: Array):
        key = row_key(seed, Purpose.BINARIZATION, word)
        example = Batch(*preparation.parts(row, key))
        return model.mean(model.embedding(model.encode(example)), example)

    return jax.vmap(row)(rows, words)


def _decode(model: Model, latents: Array) -> Array:
    return jax.vmap(model.mean)(latents)


def _latents(task: tuple, indices: Array) -> Array:
    model, seed = task
    of_draw = jax.vmap(lambda i: model.sample_latents(stream(seed, Purpose.SAMPLE, i, 0)))
    return of_draw(indices)


def _sample_means(task: tuple, indices: Array) -> Array:
    return jax.vmap(task[0].mean)(_latents(task, indices))


def _samples(task: tuple, indices: Array) -> Array:
    model, seed = task
    outputs = jax.vmap(model.decode)(_latents(task, indices))
    keys = jax.vmap(lambda i: stream(seed, Purpose.SAMPLE, i, 1))(indices)
    return jax.vmap(model.likelihood.sample)(outputs, keys)
