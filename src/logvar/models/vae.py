"""The variational autoencoder with one level of latents.

β-VAEs and importance-weighted VAEs are not other models: β and the weights are the objective's.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from logvar.distributions.base import Distribution, Latents
from logvar.distributions.kl import has_closed_form, kl
from logvar.likelihoods.base import Likelihood, Outputs
from logvar.models.base import Condition, Model, Trace, in_groups
from logvar.models.batch import Batch
from logvar.networks.base import Network
from logvar.posteriors.base import Code, Posterior
from logvar.priors.base import Encode, Prior
from logvar.scales import Scale


class VAEModel(Model):
    """p(x, z) = p(z)·p(x | decoder(z)), with q(z | x) of the posterior family from the encoder."""

    encoder: Network
    decoder: Network
    prior: Prior
    likelihood: Likelihood
    posterior: Posterior
    latent_dim: int = eqx.field(static=True)
    missing: bool = eqx.field(static=True, default=False)
    """Whether the training rows have missing cells. If so, the encoder also sees which cells are
    observed."""
    condition_size: int = eqx.field(static=True, default=0)
    """The number of values in a condition, which encoder and decoder read beside x and z; 0 if the
    model is not conditional."""

    @property
    def scale(self) -> Scale:
        """The scale of the posterior, by which the encoder's raw outputs become σ."""
        return self.posterior.scale

    @property
    def conditional(self) -> "VAEModel":
        """The model of x and z alone: itself, unless it also has a label."""
        return self

    @property
    def has_missing(self) -> bool:
        return self.missing

    def noise_like(self) -> PyTree:
        return self.posterior.noise_like(self.latent_dim)

    def seen(self, example: Batch) -> Float[Array, "..."]:
        """Return x as networks read it, with the mask of observed cells if there is one."""
        x = self.likelihood.encoder_input(example.x, example.observed)
        if not self.missing:
            return x
        observed = example.observed
        if observed is None:
            observed = jnp.ones(example.x.shape, bool)
        return with_mask(x, self.likelihood.cells(observed))

    def encode(self, example: Batch) -> Code:
        x = self.seen(example)
        if self.condition_size:
            x = with_condition(x, self._checked(example.condition))
        return self._code_of(x)

    def _code_of(self, x: Float[Array, "..."]) -> Code:
        """Return the code of what the encoder reads, by head."""
        outputs: Any = self.encoder(x)
        heads = self.posterior.heads(self.latent_dim)
        if isinstance(outputs, dict):
            return {name: outputs[name] for name in heads}
        if not isinstance(outputs, (tuple, list)):
            outputs = split_by_head(outputs, tuple(heads.values()))
        return dict(zip(heads, outputs, strict=True))

    def code_of_input(self, x: Float[Array, "..."]) -> Code:
        """Return the code of an example as the encoder reads it, with all cells observed."""
        return self._code_of(with_mask(x, self.likelihood.all_cells(x)) if self.missing else x)

    def density(self, code: Code) -> Distribution:
        return self.posterior.distribution(code)

    def prior_given(self, condition: Condition | None = None) -> Distribution | None:
        if self.prior.is_conditional and condition is None:
            return None
        given: Any = condition
        encode = Encode(self.code_of_input, self.posterior.distribution)
        return self.prior.given(self.latent_dim, encode, given)

    def draw(self, code: Code, noise: PyTree) -> Latents:
        return self.posterior.distribution(code).draw(noise)

    def trace(self, example: Batch, code: Code, noise: PyTree, prior: Distribution | None) -> Trace:
        q = self.posterior.distribution(code)
        z = q.draw(noise)
        return self._trace(q, prior, z, q.log_prob_groups_of_noise(noise), example.condition)

    def trace_at(self, example: Batch, code: Code, z: Latents, prior: Distribution | None) -> Trace:
        q = self.posterior.distribution(code)
        return self._trace(q, prior, z, q.log_prob_groups(z), example.condition)

    def _trace(
        self,
        q: Distribution,
        shared: Distribution | None,
        z: Latents,
        log_q: Float[Array, "groups"],
        condition: Condition | None,
    ) -> Trace:
        p = self.prior_given(self._checked(condition)) if shared is None else shared
        assert p is not None  # a prior without a condition is shared
        log_q, log_p = in_groups(q, log_q, p, p.log_prob_groups(z))
        return Trace(z, self.decode(z, condition), log_q, log_p, kl(q, p))

    @property
    def groups(self) -> int:
        q, p = self._densities()
        return self.latent_dim if q.by_latent and p.by_latent else 1

    @property
    def has_closed_kl(self) -> bool:
        q, p = self._densities()
        return has_closed_form(q, p)

    def _densities(self) -> tuple[type[Distribution], type[Distribution]]:
        """The classes of q(z | x) and p(z), found without computing them."""
        heads = self.posterior.heads(self.latent_dim).items()
        code = {name: jax.ShapeDtypeStruct((size,), jnp.float32) for name, size in heads}
        q = eqx.filter_eval_shape(self.posterior.distribution, code)
        condition = jax.ShapeDtypeStruct((self.condition_size,), jnp.float32)
        given = condition if self.prior.is_conditional else None
        return type(q), type(eqx.filter_eval_shape(self.prior_given, given))

    def sample_latents(self, key: PRNGKeyArray, condition: Condition | None = None) -> Latents:
        if self.condition_size:
            condition = self._checked(condition)
        prior = self.prior_given(condition)
        assert prior is not None
        return prior.sample(key)

    def decode(self, z: Latents, condition: Condition | None = None) -> Outputs:
        """Return the decoder's outputs for one example's latents; two heads form one array."""
        own = self.likelihood.latents
        seen = z[:-own] if own else z
        if self.condition_size:
            seen = jnp.concatenate([seen, self._checked(condition).astype(z.dtype)])
        outputs: Any = self.decoder(seen)
        outputs = jnp.stack(outputs) if isinstance(outputs, (tuple, list)) else outputs
        return self.likelihood.with_latents(outputs, z[-own:]) if own else outputs

    def embedding(self, code: Code) -> Any:
        return self.posterior.embedding(code)

    def _checked(self, condition: Condition | None) -> Condition:
        if condition is None or condition.shape != (self.condition_size,):
            got = "none" if condition is None else f"shape {condition.shape}"
            raise ValueError(f"the model needs a condition of {self.condition_size} values: {got}")
        return condition


def with_mask(x: Float[Array, "..."], observed: Bool[Array, "..."]) -> Float[Array, "..."]:
    """Return the encoder's input with the mask of observed cells, as numbers 1 and 0.

    For images, the mask is a further channel for each of theirs; otherwise all is one vector.

    Example:
        >>> import jax.numpy as jnp
        >>> from logvar.models.vae import with_mask
        >>> with_mask(jnp.asarray([0.5, 0.0]), jnp.asarray([True, False])).tolist()
        [0.5, 0.0, 1.0, 0.0]
    """
    mask = observed.astype(x.dtype)
    if x.ndim < 2 or x.shape != mask.shape:
        return jnp.concatenate([x.reshape(-1), mask.reshape(-1)])
    if x.ndim == 2:
        return jnp.stack([x, mask], axis=-1)
    return jnp.concatenate([x, mask], axis=-1)


def with_condition(x: Float[Array, "..."], condition: Condition) -> Float[Array, "..."]:
    """Return the encoder's input with a condition: further numbers, or channels of an image.

    Example:
        >>> import jax.numpy as jnp
        >>> from logvar.models.vae import with_condition
        >>> with_condition(jnp.asarray([0.5, 0.0]), jnp.asarray([1.0])).tolist()
        [0.5, 0.0, 1.0]
    """
    condition = condition.astype(x.dtype)
    if x.ndim < 2:
        return jnp.concatenate([x, condition])
    image = x[..., None] if x.ndim == 2 else x
    channels = jnp.broadcast_to(condition, (*image.shape[:-1], len(condition)))
    return jnp.concatenate([image, channels], axis=-1)


def split_by_head(
    outputs: Float[Array, "outputs"], sizes: tuple[int, ...]
) -> list[Float[Array, "..."]]:
    """Split an encoder's outputs by head.

    The gradient of a split is one concatenated array; that of slices is a sum of padded arrays.
    """
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
    return jnp.split(outputs, ends)
