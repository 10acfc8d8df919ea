"""Convert a trained model and its optimizer to another scale.

The raw outputs come from a last layer, r = W·h + b, so another affine function of r costs nothing:
r′ = a·r + c, with one (a, c) per latent. Within the log family r′ = (rate/rate′)·r is exact, to the
bit if the factor is a power of two. Between other scales σ′(r′) = σ(r) is not affine in r, and the
best affine r′ on given data is used.
"""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PyTree

from logvar.errors import LogvarError
from logvar.models.heads import ScaleHead, scale_head
from logvar.models.vae import VAEModel
from logvar.scales import LogFamily, Scale
from logvar.training.state import TrainState, partition

_ITERATIONS = 20


class Affine(NamedTuple):
    """r′ = factor·r + offset for each latent."""

    factor: Float[np.ndarray, "latent"]
    offset: Float[np.ndarray, "latent"]


def affine_between(old: Scale, new: Scale, raw: Float[np.ndarray, "rows latent"]) -> Affine:
    """Return the affine change of raw outputs that keeps σ: exactly, or as well as possible here.

    Outside the log family it minimizes Σ (log σ′(a·r + c) − log σ(r))² over the rows, for each
    latent, by Gauss–Newton from the point where slopes agree at the mean raw output.
    """
    latents = raw.shape[1]
    if isinstance(old, LogFamily) and isinstance(new, LogFamily):
        return Affine(np.full(latents, old.rate / new.rate), np.zeros(latents))
    with jax.enable_x64(True):
        return _fitted(old, new, np.asarray(raw, np.float64))


def _fitted(old: Scale, new: Scale, raw: np.ndarray) -> Affine:
    target = np.asarray(old.log_sigma(raw))
    with np.errstate(divide="ignore"):  # log 0 = −∞ is no bound
        low, high = (np.log(np.asarray(bound, float)) for bound in new.bounds)
    # Targets that the new scale cannot reach are moved to the nearest σ that it can: towards those
    # themselves, raw outputs would run to infinity.
    margin = 1e-3
    reachable = np.clip(target, low + margin, high - margin)
    middle = reachable.mean(axis=0)
    centre = raw.mean(axis=0)
    start = np.asarray(new.raw(np.exp(middle)))
    factor = np.asarray(old.slope(centre)) / np.asarray(new.slope(start))
    offset = start - factor * centre
    best, best_error = (factor, offset), np.full(len(factor), np.inf)
    for _ in range(_ITERATIONS):
        moved = factor * raw + offset
        miss = np.asarray(new.log_sigma(moved)) - reachable
        error = np.where(np.isfinite(miss).all(0), np.square(miss).mean(axis=0), np.inf)
        better = error < best_error
        best = tuple(np.where(better, a, b) for a, b in zip((factor, offset), best, strict=True))
        best_error = np.where(better, error, best_error)
        slope = np.asarray(new.slope(moved))
        # Normal equations of the two unknowns, with raw outputs relative to their mean.
        u, v = slope * (raw - centre), slope
        uu, uv, vv = (u * u).sum(0), (u * v).sum(0), (v * v).sum(0)
        bu, bv = (u * miss).sum(0), (v * miss).sum(0)
        determinant = uu * vv - uv * uv
        solvable = determinant > 1e-10 * uu * vv + 1e-300
        safe = np.where(solvable, determinant, 1.0)
        to_factor = np.where(solvable, (vv * bu - uv * bv) / safe, 0.0)
        to_centre = np.where(solvable, (uu * bv - uv * bu) / safe, bv / np.maximum(vv, 1e-300))
        factor = factor - to_factor
        offset = offset + to_factor * centre - to_centre
    return Affine(*best)


def convert_model(model: VAEModel, new: Scale, affine: Affine) -> VAEModel:
    """Return the model under the new scale, with its head's raw columns changed.

    Raises:
        LogvarError: the encoder has no head that is one matrix for mean and raw output.
    """
    head = scale_head(model)
    if head is None:
        raise LogvarError(
            "convert needs a built-in encoder, whose last layer is one matrix for mean and raw "
            "output; got one of your own: multiply its last layer yourself, by rate/new rate"
        )
    moved = head.changed(model, affine.factor, affine.offset)
    return eqx.tree_at(lambda model: model.posterior.scale, moved, new)


def convert_state(
    state: TrainState,
    affine: Affine,
    converted: VAEModel,
    *,
    old_coordinates: PyTree,
    same_coordinates: bool,
) -> TrainState:
    """Return a training state whose weights and optimizer continue under the new scale.

    Args:
        state: the state under the old scale.
        affine: the change of raw outputs.
        converted: the converted model, whose structure the new state gets.
        old_coordinates: the coordinates of the old run's optimizer.
        same_coordinates: whether the new run's optimizer works in the coordinates of the same
            reference, so that its moments are unchanged; otherwise they are converted.
    """
    structure = jax.tree.structure(partition(converted)[0])
    head = scale_head(converted)
    assert head is not None  # `convert_model` refuses other networks

    def in_new_tree(tree: PyTree) -> PyTree:
        # A tree of weights has its model's scale in its structure.
        return jax.tree.unflatten(structure, jax.tree.leaves(tree))

    def moved(node: PyTree) -> PyTree:
        if not _has_degrees(node):
            raise LogvarError(
                "convert cannot move the state of an optimizer that was given as an object: "
                "convert the weights alone, logvar.runs.converting.convert(logvar.load(path), …)"
            )
        if not same_coordinates:
            node = _moved(node, head, affine, old_coordinates)
        return node._replace(**{name: in_new_tree(getattr(node, name)) for name in node.degrees})

    average = state.average
    if average is not None:
        average = in_new_tree(head.changed(average, *affine))
    return dataclasses.replace(
        state,
        params=in_new_tree(head.changed(state.params, *affine)),
        best_params=in_new_tree(head.changed(state.best_params, *affine)),
        average=average,
        optimizer=jax.tree.map(moved, state.optimizer, is_leaf=_has_degrees),
    )


def _has_degrees(node: PyTree) -> bool:
    """Return whether it is the state of a built-in optimizer, which says how it scales."""
    return hasattr(node, "degrees")


def _moved(state: Any, head: ScaleHead, affine: Affine, old_coordinates: PyTree) -> Any:
    """Rescale moments: a gradient with respect to a·w is 1/a times as large, its square 1/a²."""
    inverse = Affine(1 / affine.factor, np.zeros_like(affine.offset))
    squared = Affine(np.square(inverse.factor), inverse.offset)

    def of_degree(tree: PyTree, degree: int) -> PyTree:
        if degree == 1:
            tree = jax.tree.map(jnp.divide, tree, old_coordinates)
            return head.changed(tree, *inverse)
        tree = jax.tree.map(lambda v, c: v / (c * c), tree, old_coordinates)
        return head.changed(tree, *squared)

    moved = {name: of_degree(getattr(state, name), n) for name, n in state.degrees.items()}
    return state._replace(**moved)
