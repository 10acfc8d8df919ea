"""Every objective with every posterior: it traces, or is refused in one line."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar import assembly
from logvar.models.batch import Batch
from logvar.objectives import OBJECTIVES
from logvar.posteriors import POSTERIORS
from logvar.randomness import noise
from logvar.recipe import Recipe
from logvar.trainable import trainable
from tests.objectives.tiny import moment

ROWS = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
LATENTS = 3
REQUIRED = {"low-rank": "low-rank(rank=1)"}
REFUSED = {("beta-tc", "full"), ("beta-tc", "low-rank"), ("dip", "full"), ("dip", "low-rank")}
REFUSED |= {(name, "power-spherical") for name in ("beta-tc", "dip", "factor")}


@pytest.mark.parametrize("posterior", POSTERIORS.names())
@pytest.mark.parametrize("objective", OBJECTIVES.names())
def test_it_traces_or_is_refused(objective, posterior):
    sphere = posterior == "power-spherical"
    recipe = Recipe().replace(
        latent_dim=LATENTS,
        network="mlp(hidden=[4])",
        posterior=REQUIRED.get(posterior, posterior),
        prior="uniform-sphere" if sphere else "standard",
        objective=objective,
        batch_size=8,
    )
    if (objective, posterior) in REFUSED:
        with pytest.raises(logvar.LogvarError) as raised:
            assembly.build_run(recipe, ROWS, None)
        assert "\n" not in str(raised.value)
        return
    run = assembly.build_run(recipe, ROWS, None)
    params, static = eqx.partition(run.model, trainable(run.model))

    def loss(params):
        eps = noise(run.model.noise_like(), jax.random.key(0), (8, run.objective.samples))
        at = moment(objective=run.objective, latent_dim=LATENTS)
        batch = Batch(jnp.asarray(ROWS), weight=jnp.ones(8))
        return run.objective(eqx.combine(params, static), batch, eps, at)

    (value, terms), gradient = jax.eval_shape(jax.value_and_grad(loss, has_aux=True), params)
    assert value.shape == () and terms.kl.shape == (run.model.groups,)
    assert jax.tree.structure(gradient) == jax.tree.structure(params)
