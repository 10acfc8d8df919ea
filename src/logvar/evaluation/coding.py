"""Encode, decode and draw in blocks of rows, as NumPy arrays."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, UInt32

from logvar.backend.compiling import host_int
from logvar.backend.sparse import Rows
from logvar.data.examples import Examples, examples_of
from logvar.data.preparation import Preparation
from logvar.evaluation.blocks import in_blocks
from logvar.models.base import Model
from logvar.models.batch import Batch
from logvar.models.labelled import LabelledVAE
from logvar.randomness import Purpose, row_key, row_noise, stream


def encode(
    model: Model, rows: Rows | Examples, preparation: Preparation, seed: int
) -> dict[str, np.ndarray]:
    """Return the code of each row: the encoder's outputs by head, for the most probable label.

    Dynamic binarization is a function of (seed, the row's bytes).
    """
    examples = examples_of(rows)
    return encode_stored(model, examples.stored, _words(examples, preparation), preparation, seed)


def encode_stored(
    model: Model, rows: Batch, words: np.ndarray, preparation: Preparation, seed: int
) -> dict[str, np.ndarray]:
    """Return the code of each row of a batch; words key dynamic binarization."""
    return in_blocks(_encode, (model, preparation, host_int(seed)), rows, words)


def label_scores(
    model: LabelledVAE, rows: np.ndarray | Examples, preparation: Preparation, seed: int
) -> np.ndarray:
    """Return log q(y | x) of each row, up to a constant for each row; (rows, classes)."""
    return _by_row(_label_scores, model, rows, preparation, seed)


def decode(model: Model, latents: np.ndarray, condition: np.ndarray | None = None) -> np.ndarray:
    """Return E[x | z] for each row of latents, in the units that the model sees x in.

    Args:
        model: the model.
        latents: (rows, latent).
        condition: (rows, size), for a conditional model.
    """
    return in_blocks(_decode, model, latents, condition)


def reconstruct(
    model: Model, rows: Rows | Examples, preparation: Preparation, seed: int
) -> np.ndarray:
    """Return E[x | z] at the posterior mean of each row, in the units that the model sees x in.

    Counts are at the row's own library size.
    """
    return _by_row(_reconstruct, model, rows, preparation, seed)


def embed(model: Model, rows: Rows | Examples, preparation: Preparation, seed: int) -> np.ndarray:
    """Return the embedding of each row, (rows, latent), for the most probable label."""
    return _by_row(_embed, model, rows, preparation, seed)


def draw(
    model: Model,
    n: int,
    seed: int,
    *,
    mean: bool,
    condition: np.ndarray | None = None,
    first: int = 0,
) -> np.ndarray:
    """Draw x, or E[x | z], n times from the model; draw i is a function of (seed, i, condition).

    Args:
        model: the model.
        n: how many.
        seed: the seed of the draws.
        mean: whether to return E[x | z].
        condition: (n, size), for a conditional model.
        first: i of the first draw.
    """
    task = (model, host_int(seed))
    indices = np.arange(first, first + n, dtype=np.uint32)
    return in_blocks(_sample_means if mean else _samples, task, indices, condition)


def draw_posterior(
    model: Model, rows: np.ndarray | Examples, preparation: Preparation, seed: int
) -> np.ndarray:
    """Draw z from the posterior of each row: a function of (seed, the row's bytes)."""
    examples = examples_of(rows)
    task = (model, preparation, host_int(seed))
    return in_blocks(_drawn_codes, task, examples.stored, examples.words)


def draw_from(
    model: Model,
    latents: np.ndarray,
    seed: int,
    *,
    mean: bool,
    condition: np.ndarray | None = None,
    first: int = 0,
) -> np.ndarray:
    """Draw x, or E[x | z], once for each row of latents, with the noise of `draw`."""
    if mean:
        return decode(model, latents, condition)
    indices = np.arange(first, first + len(latents), dtype=np.uint32)
    return in_blocks(_samples_at, (model, host_int(seed)), indices, latents, condition)


def _words(examples: Examples, preparation: Preparation) -> UInt32[np.ndarray, "rows 2"]:
    """Return the keys of rows for their preparation alone; zeros if it draws nothing.

    Hashing rows for noise that is never drawn would take a fifth of the time.
    """
    return examples.words if preparation.draws else np.zeros((len(examples), 2), np.uint32)


def _by_row(
    function: Callable, model: Model, rows: Rows | Examples, preparation: Preparation, seed: int
) -> np.ndarray:
    """Return a function of each row whose only noise is that of its preparation."""
    examples = examples_of(rows)
    task, words = (model, preparation, host_int(seed)), _words(examples, preparation)
    found: np.ndarray = in_blocks(function, task, examples.stored, words)
    return found


def _prepared(task: tuple, rows: Batch, words: Array) -> Batch:
    """Return stored rows as the model reads them."""
    _, preparation, seed = task
    keys = jax.vmap(lambda word: row_key(seed, Purpose.BINARIZATION, word))(words)
    return jax.vmap(preparation.batch)(rows, keys)


def _encode(task: tuple, rows: Batch, words: Array):
    model = task[0]
    examples = _prepared(task, rows, words)
    return jax.vmap(lambda example: model.representative(model.encode(example)))(examples)


def _embed(task: tuple, rows: Batch, words: Array) -> Array:
    # The code of each row first, for a model may choose its label.
    return jax.vmap(task[0].embedding)(_encode(task, rows, words))


def _label_scores(task: tuple, rows: Batch, words: Array) -> Array:
    return jax.vmap(task[0].logits)(_prepared(task, rows, words))


def _reconstruct(task: tuple, rows: Batch, words: Array) -> Array:
    model = task[0]
    examples = _prepared(task, rows, words)
    return jax.vmap(lambda example: model.reconstruction(example, model.encode(example)))(examples)


def _drawn_codes(task: tuple, rows: Batch, words: Array) -> Array:
    model, _, seed = task

    def drawn(example: Batch, word: Array) -> Array:
        noise = row_noise(seed, word, 1, model.noise_like())
        return model.draw(model.encode(example), jax.tree.map(lambda leaf: leaf[0], noise))

    return jax.vmap(drawn)(_prepared(task, rows, words), words)


def _decode(model: Model, latents: Array, condition: Array | None) -> Array:
    return jax.vmap(model.mean)(latents, condition)


def _latents(task: tuple, indices: Array, condition: Array | None) -> Array:
    model, seed = task

    def of_draw(i: Array, given: Array | None) -> Array:
        return model.sample_latents(stream(seed, Purpose.SAMPLE, i, 0), given)

    return jax.vmap(of_draw)(indices, condition)


def _sample_means(task: tuple, indices: Array, condition: Array | None) -> Array:
    return _decode(task[0], _latents(task, indices, condition), condition)


def _samples(task: tuple, indices: Array, condition: Array | None) -> Array:
    return _samples_at(task, indices, _latents(task, indices, condition), condition)


def _samples_at(task: tuple, indices: Array, latents: Array, condition: Array | None) -> Array:
    model, seed = task
    outputs = jax.vmap(model.decode)(latents, condition)
    keys = jax.vmap(lambda i: stream(seed, Purpose.SAMPLE, i, 1))(indices)
    return jax.vmap(model.likelihood.sample)(outputs, keys)
