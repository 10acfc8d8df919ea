"""Find out why a step was not finite by repeating it, one quantity at a time.

A step that is not finite is not taken, so the state still holds the step's inputs. Noise is a
function of (seed, epoch, step). So the failure can be repeated and inspected.
"""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from logvar import scales
from logvar.backend.ops import optimized
from logvar.backend.precision import in_training
from logvar.likelihoods.noise import ObservationNoise
from logvar.models.batch import Batch
from logvar.models.vae import VAEModel
from logvar.objectives.base import Drawn
from logvar.training.sharding import WHOLE
from logvar.training.state import TrainState
from logvar.training.step import Epoch, Keys, Task, drawing_of, loss_function

_FAR, _APART = 20, 100
"""An input counts as bad data beyond `_FAR` standard deviations, if it is also more than `_APART`
times the batch's median."""
_LARGE_WEIGHT = 1e3
_LARGE_SIGMA = 1e3
_SMALL_NOISE = 1e-4


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """The first quantity that was not finite, in the order of computation, and the likely cause."""

    step: int
    """The optimizer step that was not taken, counted from 1."""
    epoch: int
    quantity: str
    """The quantity that was NaN or infinite, and where."""
    cause: str
    remedy: str
    raw_range: tuple[float, float]
    """The raw scale outputs of the batch."""
    safe_range: tuple[float, float]
    runaway_sigma: bool = False
    """Whether σ itself diverged, so that bounds on the scale are part of the remedy."""

    def __str__(self) -> str:
        low, high = self.raw_range
        return (
            f"step {self.step} (epoch {self.epoch}): {self.quantity}. Raw scale outputs lay in "
            f"[{low:.4g}, {high:.4g}], safe is [{self.safe_range[0]:.4g}, "
            f"{self.safe_range[1]:.4g}]. Likely cause: {self.cause}. Remedy: {self.remedy}"
        )


def diagnose(
    state: TrainState,
    batch: Batch,
    indices: np.ndarray,
    position: tuple[Epoch, int],
    task: Task,
) -> Diagnosis:
    """Repeat a failed step and say what broke.

    Args:
        state: the state before that step.
        batch: the stored rows of its batch, padded as in training, with their weights.
        indices: the training-set indices of the rows that are not padding.
        position: the epoch, and the step within it.
        task: what the step was compiled for.
    """
    model: VAEModel = eqx.combine(state.params, task.static)
    seen = _quantities(state, batch, len(indices), position, task)
    raw = np.asarray(seen["raw scale output"])
    finite_raw = raw[np.isfinite(raw)] if np.isfinite(raw).any() else np.zeros(1)
    # An optimizer given as an object has its learning rate inside.
    own = task.optimizer.has_own_rate
    rate = None if own else float(task.hyper.rates(state.failed_step))
    cause = _cause(model, state, seen, indices, rate)
    return Diagnosis(
        step=int(state.failed_step) + 1,
        epoch=int(position[0].number) + 1,
        quantity=_first_bad(seen, indices),
        cause=cause.text,
        remedy=cause.remedy,
        raw_range=(float(finite_raw.min()), float(finite_raw.max())),
        safe_range=model.scale.safe_range(jnp.float32),
        runaway_sigma=cause.runaway_sigma,
    )


_FORWARD = (
    "input", "posterior mean", "raw scale output", "posterior σ", "latent", "KL", "decoder output",
    "log p(x | z)",
)  # fmt: skip


def _quantities(
    state: TrainState, batch: Batch, valid: int, position: tuple[Epoch, int], task: Task
) -> dict[str, np.ndarray]:
    """Return all quantities of the step in order of computation: rows first, gradients last."""
    epoch, t = position
    batch = jax.tree.map(jnp.asarray, batch)
    forward, gradients = _computed(state, batch, epoch, jnp.asarray(t), task)
    named = dict(zip(_FORWARD, (np.asarray(values)[:valid] for values in forward), strict=True))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        name = jax.tree_util.keystr(path[1:], simple=True, separator=".")
        named[f"gradient of {name}"] = np.asarray(leaf)
    return named


@eqx.filter_jit  # as one program: running it operation by operation would take seconds
def _computed(
    state: TrainState, batch: Batch, epoch: Epoch, t: Array, task: Task
) -> tuple[tuple[Array, ...], PyTree]:
    fixed = task.fixed
    keys = Keys.of_epoch(task.hyper.seed, epoch.number).at(t)
    drawing = drawing_of(task.static, task.objective, fixed)
    drawn, eps = drawing.of(batch, keys.binarization, keys.noise, WHOLE)
    x = dataclasses.replace(drawn, weight=None)

    def forward(params: PyTree) -> tuple[Array, ...]:
        model: VAEModel = in_training(eqx.combine(params, task.static), fixed.precision)
        drawn = Drawn.of(model, x, eps)
        prior = model.prior_given()
        trace = jax.vmap(lambda e, c, n: model.trace(e, c, n, prior))
        found = trace(drawn.examples, drawn.codes, drawn.noise)
        each = jax.vmap(lambda e, out: model.likelihood.given(e.x, e.observed).log_prob(e.x, out))(
            drawn.examples, found.outputs
        )
        if drawn.examples.observed is not None:
            each = jnp.where(jax.vmap(model.likelihood.cells)(drawn.examples.observed), each, 0.0)
        codes = drawn.by_example(drawn.codes)
        mean, raw = codes["mean"][:, 0], codes["raw"][:, 0]
        return (
            jax.vmap(model.likelihood.encoder_input)(x.x, x.observed),
            mean,
            raw,
            model.scale.sigma(raw),
            drawn.by_example(found.z),
            drawn.by_example(found.kl(True)),
            drawn.by_example(found.outputs),
            drawn.by_example(each),
        )

    loss = loss_function(task.static, batch, state.step, keys, task, epoch)
    own = None if state.extras is None else state.extras.weights
    gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)

    def both(params: PyTree) -> tuple[tuple[Array, ...], PyTree]:
        of_model, of_extras = gradient(params, own)[0]
        return forward(params), (of_model, {"objective": of_extras})

    return optimized(both)(state.params)


def _first_bad(seen: dict[str, np.ndarray], indices: np.ndarray) -> str:
    for name, values in seen.items():
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            value = values[tuple(bad[0])]
            what = "NaN" if np.isnan(value) else "infinite"
            if name.startswith("gradient"):
                return f"{name} became {what} while the loss was finite"
            row = int(indices[bad[0][0]])
            rows = len(np.unique(bad[:, 0]))
            where = f"in {rows} of {len(values)} rows (such as row {row})"
            return f"{name} became {what} first, {where}"
    sizes = {
        name: float(np.abs(v).max()) for name, v in seen.items() if name.startswith("gradient")
    }
    largest = max(sizes, key=sizes.__getitem__)
    return (
        f"the gradient's sum of squares overflowed: {largest} reaches {sizes[largest]:.3g}, and "
        f"the KL of one latent {np.abs(seen['KL']).max():.3g}"
    )


def _has_run_away(model: VAEModel, seen: dict[str, np.ndarray]) -> bool:
    """Return whether σ is beyond what the scale can compute, or far larger than any spread."""
    raw, (low, high) = seen["raw scale output"], model.scale.safe_range(jnp.float32)
    return not (
        raw.max() <= high and raw.min() >= low and seen["posterior σ"].max() <= _LARGE_SIGMA
    )


class _Cause(NamedTuple):
    """A likely cause and what to do about it."""

    text: str
    remedy: str
    runaway_sigma: bool = False


def _cause(
    model: VAEModel,
    state: TrainState,
    seen: dict[str, np.ndarray],
    indices: np.ndarray,
    learning_rate: float | None,
) -> _Cause:
    """Return the most specific likely cause that fits.

    The learning rate is None if it is inside the optimizer.
    """
    inputs = np.abs(seen["input"].reshape(len(indices), -1))
    if not inputs.max() <= max(_FAR, _APART * float(np.median(inputs))):
        row, column = np.unravel_index(int(np.argmax(inputs)), inputs.shape)
        return _Cause(
            f"bad data: row {int(indices[row])}, feature {int(column)} lies {inputs.max():.3g} "
            "standard deviations from the mean",
            "remove or repair that row, or use likelihood='student-t'",
            runaway_sigma=_has_run_away(model, seen),
        )
    rate = "the optimizer's own" if learning_rate is None else f"{learning_rate:g}"
    slower = f"a learning rate below {rate}, or clip_norm=1"
    weights = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(state.params))
    noise = getattr(model.likelihood, "noise", None)
    if isinstance(noise, ObservationNoise) and noise.mode != "per-example":
        sigma = float(jnp.min(noise.scale.sigma(noise.raw)))
        if not sigma > _SMALL_NOISE:
            return _Cause(
                f"the observation noise fell to σ = {sigma:.2g} of a feature's spread, where the "
                "density has no bound",
                "a lower bound on the noise, as in likelihood='normal(floor=1e-3)'",
            )
    if weights > _LARGE_WEIGHT:
        return _Cause(f"the learning rate: weights have grown to {weights:.3g}", slower)
    raw = seen["raw scale output"]
    low, high = model.scale.safe_range(jnp.float32)
    name = scales.describe(model.scale)
    bounded = f"{slower}; or a scale with bounds such as clamped({name}, low=-7, high=3)"
    if not raw.max() <= high:
        return _Cause(f"raw outputs beyond where σ² of {name} overflows", bounded, True)
    if not raw.min() >= low:
        return _Cause(f"raw outputs below where σ² of {name} is 0", bounded, True)
    sigma = float(seen["posterior σ"].max())
    if sigma > _LARGE_SIGMA:
        return _Cause(f"σ has grown to {sigma:.3g} under {name}", bounded, True)
    too_large = (
        "the optimizer's learning rate" if learning_rate is None else f"the learning rate {rate}"
    )
    return _Cause(f"{too_large} is too large for these data", slower)
