"""A masked autoregressive flow on posterior draws."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from logvar import scales
from logvar.backend.compiling import compiled, from_host, host_float
from logvar.distributions.autoregressive import FlowDensity, Layers
from logvar.errors import LogvarError
from logvar.evaluation.blocks import in_blocks
from logvar.randomness import Purpose, host_stream, stream
from logvar.registry import setting
from logvar.samplers.base import FittedSampler, Latents, Sampler, stored_arrays
from logvar.scales import Scale
from logvar.scales.registry import SCALES
from logvar.storage.weights import save_float64
from logvar.training import optimizers
from logvar.training.optimizers import Rule, StepScalars

_FILE = "flow.safetensors"
_RATE, _BATCH, _PATIENCE = 3e-3, 128, 20
_HELD_OUT = 0.1


class Flow(Sampler):
    """A masked autoregressive flow f, fitted to posterior draws by maximum likelihood.

    log p(z) = log N(f(z); 0, I) + log |det df/dz| is raised by Adam with a rate of 0.003, in
    batches of 128 of the draws, which are standardized first. A tenth of them is held out: the
    weights with their best density are kept, and it stops when that was 20 epochs ago. A draw of z
    takes one pass per latent.

    Args:
        layers: affine autoregressive layers.
        width: hidden units of each layer.
        epochs: the most passes over the draws.
        scale: how raw outputs become the layers' factors.
    """

    layers: int = setting(4, help="autoregressive layers", at_least=1)
    width: int = setting(64, help="hidden units of each layer", at_least=1)
    epochs: int = setting(200, help="the most passes over the draws", at_least=1)
    scale: Scale = setting(
        scales.get("floored(softplus, minimum=0.01)"),
        help="how raw outputs become the layers' factors",
        part=SCALES,
    )

    def fit(self, latents: Latents, seed: int, estimator: Any) -> "FittedFlow":
        if len(latents) < 2:
            raise LogvarError(
                f"sampler 'flow' got {len(latents)} rows: expected at least 2, of which one is "
                "held out; give more rows"
            )
        mean, spread = latents.mean(0), latents.std(0)
        spread = np.where(spread > 0, spread, 1.0)
        rows = ((latents - mean) / spread).astype(np.float32)
        shuffled = rows[host_stream(seed, Purpose.SAMPLER, 3).permutation(len(rows))]
        some = max(1, int(_HELD_OUT * len(rows)))
        layers = _fitted(self, shuffled[some:], shuffled[:some], seed)
        return FittedFlow(layers, self.scale, mean, spread)

    def read(self, folder: Path, latent_dim: int, load: Any) -> "FittedFlow":
        like = eqx.filter_eval_shape(lambda: self.start(latent_dim, 0))
        shapes = {f.name: getattr(like, f.name).shape for f in _weights(like)}
        shapes |= {"mean": (latent_dim,), "spread": (latent_dim,)}
        arrays = stored_arrays(folder / _FILE, shapes)
        weights = {f.name: from_host(arrays[f.name].astype(np.float32)) for f in _weights(like)}
        layers = Layers(context=None, **weights)
        return FittedFlow(layers, self.scale, arrays["mean"], arrays["spread"])

    def start(self, latent_dim: int, seed: int) -> Layers:
        """Return the flow before training, close to the identity."""
        width = max(self.width, latent_dim)  # each latent needs a unit that reads up to it
        key = stream(seed, Purpose.SAMPLER)
        return Layers.drawn(key, latent_dim, self.layers, width, self.scale)


class FittedFlow(FittedSampler):
    """z = mean + spread ⊙ f⁻¹(ε)."""

    def __init__(
        self,
        layers: Layers,
        scale: Scale,
        mean: Float[np.ndarray, "latent"],
        spread: Float[np.ndarray, "latent"],
    ):
        self.layers, self.scale, self.mean, self.spread = layers, scale, mean, spread

    def drawing(self, seed: int) -> Callable[[int], Latents]:
        generator = host_stream(seed, Purpose.SAMPLER, 1)

        def drawn(n: int) -> Latents:
            noise = generator.standard_normal((n, len(self.mean))).astype(np.float32)
            found = in_blocks(_through, (self.layers, self.scale), noise)
            return (self.mean + self.spread * found).astype(np.float32)

        return drawn

    def log_prob(self, latents: Latents) -> Float[np.ndarray, "rows"]:
        """Return log p(z) of each row, in nats."""
        rows = ((latents - self.mean) / self.spread).astype(np.float32)
        density = in_blocks(_log_density, (self.layers, self.scale), rows)
        return density.astype(np.float64) - np.log(self.spread).sum()

    def write(self, folder: Path) -> None:
        arrays = {f.name: np.asarray(getattr(self.layers, f.name)) for f in _weights(self.layers)}
        save_float64(folder / _FILE, arrays | {"mean": self.mean, "spread": self.spread})


class _State(NamedTuple):
    """Of the training."""

    layers: Layers
    optimizer: PyTree
    failed: Array
    """Whether a loss or a gradient was not finite."""


def _fitted(
    settings: Flow,
    rows: Float[np.ndarray, "rows latent"],
    held_out: Float[np.ndarray, "held_out latent"],
    seed: int,
) -> Layers:
    """Return the flow with the best density of the rows held out.

    Raises:
        LogvarError: a density or its gradient is not finite.
    """
    rule, start = optimizers.get("adam").build(), settings.start(rows.shape[1], seed)
    state = _State(start, rule.init(start, _ones(start)), from_host(np.zeros((), bool)))
    best, best_at, kept = -np.inf, 0, start
    size = min(_BATCH, len(rows))
    for epoch in range(settings.epochs):
        order = host_stream(seed, Purpose.SAMPLER, 2, epoch).permutation(len(rows))
        # The rows that no batch of this epoch has are others in the next.
        batches = order[: len(rows) // size * size].reshape(-1, size).astype(np.int32)
        state = _epoch((rule, settings.scale, host_float(_RATE)), state, rows, batches)
        densities = in_blocks(_log_density, (state.layers, settings.scale), held_out)
        density = float(np.mean(densities, dtype=np.float64))
        if bool(state.failed) or not np.isfinite(density):
            raise LogvarError(
                f"sampler 'flow': its density became NaN or infinite in epoch {epoch + 1}: give "
                "another scale, such as scale=clamped(log-std, low=-3, high=3), or fewer layers"
            )
        if density > best:
            best, best_at, kept = density, epoch, state.layers
        if epoch - best_at >= _PATIENCE:
            break
    return kept


@compiled
def _epoch(
    how: tuple[Rule, Scale, Array],
    state: _State,
    rows: Float[Array, "rows latent"],
    batches: Int[Array, "batches batch"],
) -> _State:
    """Take a step for each batch; one that is not finite is not taken."""
    rule, scale, rate = how

    def loss(layers: Layers, z: Float[Array, "batch latent"]) -> Array:
        return -jnp.mean(_log_density((layers, scale), z))

    def step(state: _State, batch: Int[Array, "batch"]) -> tuple[_State, None]:
        value, gradient = jax.value_and_grad(loss)(state.layers, rows[batch])
        leaves = [value, *jax.tree.leaves(gradient)]
        taken = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
        scalars = StepScalars(rate, jnp.ones(()), taken, value)
        moved = rule.step(state.layers, gradient, state.optimizer, _ones(gradient), scalars)
        return _State(*moved, state.failed | ~taken), None

    return lax.scan(step, state, batches)[0]


def _log_density(
    flow: tuple[Layers, Scale], z: Float[Array, "rows latent"]
) -> Float[Array, "rows"]:
    density = FlowDensity(*flow, z.shape[1])
    return jax.vmap(density.log_prob)(z)


def _through(
    flow: tuple[Layers, Scale], noise: Float[Array, "rows latent"]
) -> Float[Array, "rows latent"]:
    layers, scale = flow
    return jax.vmap(lambda x: layers.inverse(x, scale)[0])(noise)


def _weights(layers: Layers) -> list[dataclasses.Field]:
    """Return the fields of a flow without a context that hold weights."""
    return [f for f in dataclasses.fields(layers) if f.name != "context"]


def _ones(weights: PyTree) -> PyTree:
    return jax.tree.map(lambda weight: jnp.ones((), weight.dtype), weights)
