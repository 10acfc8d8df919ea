"""Settings and rows that no model can be made of: one clear line each, before anything is trained."""

import sys

import equinox as eqx
import numpy as np
import pytest

import logvar
from logvar.data.annotated import read_h5ad
from logvar.priors import PriorSpec

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
SMALL = {"latent_dim": 3, "network": "mlp(hidden=[4])", "epochs": 2, "validation_fraction": 0.0}
SPHERE = {"posterior": "power-spherical", "prior": "uniform-sphere"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prior": "vamp(components=50)"}, "50 components and there are 40 training rows"),
        ({"prior": "mixture(components=50)"}, "50 components and there are 40 training rows"),
        (SPHERE | {"latent_dim": 1}, "the unit sphere is the two points.*at least 2"),
        ({"posterior": "low-rank(rank=3)"}, "rank 3 and latent_dim is 3: give a rank below"),
        ({"objective": "renyi(alpha=1)"}, "is the ELBO, and its formula is 0/0: use elbo"),
        ({"objective": "elbo(capacity=3, free_bits=0.1)"}, "two places: give one of them"),
        ({"objective": "elbo(capacity=3, beta=2)"}, r"elbo\(capacity=3, gamma=2\)"),
        ({"objective": "mmd", "batch_size": 1}, "use a batch_size of at least 2"),
        ({"objective": "beta-tc", "batch_size": 1}, "use a batch_size of at least 2"),
        ({"objective": "dip", "batch_size": 1}, "use a batch_size of at least 2"),
        ({"objective": "factor", "batch_size": 1}, "use a batch_size of at least 2"),
        ({"posterior": "power-spherical"}, "lies on 'sphere' and prior 'standard' on 'real'"),
        ({"prior": "uniform-sphere"}, "lies on 'real' and prior 'uniform-sphere' on 'sphere'"),
    ],
    ids=lambda value: " ".join(f"{v}" for v in value.values()) if isinstance(value, dict) else "",
)
def test_parts_that_cannot_be(settings, said):
    with pytest.raises(logvar.LogvarError, match=said) as raised:
        logvar.VAE(**SMALL | settings).fit(X)
    assert "\n" not in str(raised.value)


def test_a_learned_library_is_no_coordinate_of_a_sphere():
    counts = np.arange(120).reshape(40, 3) % 7 + 1
    model = logvar.VAE(**SMALL | SPHERE, likelihood="poisson(library=learned)")
    with pytest.raises(logvar.LogvarError, match="reads 1 latent itself.*library=observed"):
        model.fit(counts)
    logvar.VAE(**SMALL | SPHERE, likelihood="poisson").fit(counts)


def test_dreg_beside_labels_that_are_summed_out():
    model = logvar.VAEClassifier(**SMALL | {"objective": "iwae(gradient=dreg)"})
    with pytest.raises(logvar.LogvarError, match="not defined for labels that are summed") as info:
        model.fit(X, X[:, 0] > 0)
    assert "\n" not in str(info.value)


def test_an_extra_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(logvar.LogvarError, match=r"pip install 'logvar\[anndata\]'") as raised:
        read_h5ad(tmp_path / "cells.h5ad")
    assert "\n" not in str(raised.value)


class Overflowing(PriorSpec):
    """A flow one of whose factors is infinite from the start."""

    def build(self, latent_dim, key, inputs=None):
        flow = logvar.priors.get("flow(layers=1, width=4, scale=log-std)").build(latent_dim, key)
        return eqx.tree_at(
            lambda prior: prior.flow.raw_bias, flow, replace_fn=lambda bias: bias + 200
        )


def test_a_number_that_is_not_finite_inside_a_flow_is_diagnosed():
    with pytest.raises(logvar.LogvarError, match="step 1 .epoch 1.: KL became .* first") as raised:
        logvar.VAE(**SMALL | {"prior": Overflowing()}).fit(X)
    assert "\n" not in str(raised.value) and "was not taken" in str(raised.value)
