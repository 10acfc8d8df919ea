"""The probe names by which factor a loss is off from the ELBO, and is silent on right ones."""

import importlib.util

import jax.numpy as jnp
import numpy as np
import pytest

import logvar

ROWS, FEATURES, LATENTS = 7, 11, 5


def kl(mean, raw):
    return 0.5 * (np.exp(raw) + mean**2 - 1 - raw)


def bce(x, out):
    return -x * np.log(out) - (1 - x) * np.log(1 - out)


def loss(reconstruction=np.sum, of_kl=np.sum, error=bce, divergence=kl):
    return lambda x, out, mean, raw: reconstruction(error(x, out)) + of_kl(divergence(mean, raw))


def softplus_kl(mean, raw):
    sigma = np.logaddexp(0, raw)
    return 0.5 * (sigma**2 + mean**2 - 1) - np.log(sigma)


def logits(x, out):
    return np.logaddexp(0, out) - x * out


def by_row(values):
    return values.sum(1)


def over_rows(values):
    return values.sum(1).mean()


@pytest.mark.parametrize(
    "right",
    [
        loss(),
        loss(over_rows, over_rows),
        loss(by_row, by_row),
        loss(np.mean, lambda kl: kl.sum() / ROWS / FEATURES),  # divided by all features, both
        loss(error=logits, divergence=softplus_kl),
        loss(error=lambda x, out: 0.5 * (x - out) ** 2 + 0.919),
        loss(error=lambda x, out: abs(x - out), divergence=lambda m, r: kl(m, 2 * r)),
    ],
)
def test_a_right_loss_raises_no_alarm(right):
    found = logvar.probe(loss=right)
    assert found.consistent, found.problems
    assert found.loss.beta == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(
    ("wrong", "beta", "named"),
    [
        (loss(lambda v: v.mean(), over_rows), FEATURES, "reconstruction is averaged over the 11"),
        (loss(over_rows, lambda v: v.mean()), 1 / LATENTS, "KL is averaged over the 5 latents"),
        (loss(np.sum, lambda v: v.sum() / 2), 0.5, "the KL is halved"),
        (loss(np.sum, over_rows), 1 / ROWS, "KL is averaged over rows and the other term is summed"),
        (loss(over_rows, np.sum), ROWS, "reconstruction is averaged over rows and the other"),
        (loss(error=lambda x, out: (x - out) ** 2), 0.5, "squared error lacks its ½"),
        (loss(np.sum, lambda v: 4 * v.sum()), 4, "the KL counts 4 times as much"),
        (loss(np.sum, lambda v: -v.sum()), -1, "KL has the wrong sign"),
        (loss(lambda v: -v.sum()), -1, "reconstruction has the wrong sign"),
        (loss(lambda v: -v.sum(), lambda v: -v.sum()), 1, "it is the ELBO and not its negative"),
        (loss(np.sum, lambda v: 0 * v.sum()), 0, "no KL"),
    ],
)  # fmt: skip
def test_each_mistake_is_named(wrong, beta, named):
    found = logvar.probe(loss=wrong)
    assert len(found.problems) == 1, found.problems
    assert named in found.problems[0] and found.problems[0] in str(found)
    assert found.loss.beta == pytest.approx(beta, rel=1e-3)


def test_two_mistakes_are_two_sentences():
    found = logvar.probe(loss=loss(lambda v: v.mean(), lambda v: v.mean() / 2))
    text = "\n".join(found.problems)
    assert "over the 11 features" in text and "over the 5 latents" in text and "halved" in text
    assert found.loss.beta == pytest.approx(FEATURES / LATENTS / 2)


def test_the_sigma_of_its_kl_is_read_and_compared():
    mixed = loss(divergence=lambda mean, raw: 0.5 * (np.exp(2 * raw) + mean**2 - 1) - raw / 2)
    assert "σ² reads the raw output as log-std" in logvar.probe(loss=mixed).problems[0]
    lost = loss(divergence=lambda mean, raw: kl(mean, raw) + kl(0 * mean, raw))
    assert "KL's σ counts 2 times" in logvar.probe(loss=lost).problems[0]
    found = logvar.probe(loss=loss(), sample=lambda mean, raw, eps: mean + np.exp(raw) * eps)
    assert "sample reads the raw output as log-std, loss's KL as log-var" in found.problems[0]


def test_sizes_may_be_given_and_a_loss_of_another_kind_is_told():
    def flat(x, out, mean, raw):
        return loss()(x.reshape(-1, 64), out.reshape(-1, 64), mean[:, :2], raw[:, :2])

    assert logvar.probe(loss=flat, shape=(8, 8, 1), latent_dim=2).consistent
    odd = loss(error=lambda x, out: abs(x - out) ** 3)
    assert "changes like none of" in logvar.probe(loss=odd).problems[0]
    with pytest.raises(logvar.LogvarError, match=r"expected loss\(x, outputs, mean, raw\)"):
        logvar.probe(loss=lambda x: x)
    with pytest.raises(logvar.LogvarError, match="expected positive sizes"):
        logvar.probe(loss=loss(), shape=(0,))


def test_jax_and_float32():
    def in_jax(x, out, mean, raw):
        error = -x * jnp.log(out) - (1 - x) * jnp.log1p(-out)
        return jnp.mean(error) + jnp.sum(0.5 * (jnp.exp(raw) + jnp.square(mean) - 1 - raw)) / 7

    found = logvar.probe(loss=in_jax)
    assert found.loss.beta == pytest.approx(FEATURES, rel=1e-2)
    assert "averaged over the 11 features" in found.problems[0]


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_pytorch():
    import torch
    from torch.nn import functional

    def in_torch(x, out, mean, logvar):
        error = functional.binary_cross_entropy(out, x, reduction="sum")
        return error - 0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp())

    assert logvar.probe(loss=in_torch).consistent
