"""Parts of a recipe: one spelling, one place for the scale, and parts that do not go together."""

import sys

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_iris

import logvar
from logvar.assembly.parts import KINDS, own_classes, resolved, specs, written
from logvar.cli.main import main
from logvar.distributions.base import Distribution
from logvar.distributions.multivariate import DiagonalNormal
from logvar.errors import LogvarError
from logvar.posteriors import Posterior
from logvar.posteriors.base import scale_setting
from logvar.priors import Prior
from logvar.recipe import Recipe
from logvar.scales import Scale

X = load_iris().data
SMALL = {"latent_dim": 2, "epochs": 2, "network": "mlp(hidden=[4])"}


class Frozen(Posterior):
    """One that cannot be differentiated through, on another set of z."""

    scale: Scale = scale_setting()
    reparameterizes = False
    support = "sphere"

    def heads(self, latent_dim):
        return {"mean": latent_dim, "raw": latent_dim}

    def distribution(self, code):
        return DiagonalNormal(code["mean"], code["raw"], self.scale)


class Wide(Distribution):
    width: float
    latent_dim: int = eqx.field(static=True)

    def log_prob(self, z):
        return -0.5 * jnp.sum((z / self.width) ** 2 + jnp.log(2 * jnp.pi * self.width**2))

    def sample(self, key):
        return jnp.zeros(self.latent_dim)


class WidePrior(Prior):
    width: float = 2.0

    def given(self, latent_dim, encode, condition=None):
        return Wide(self.width, latent_dim)


class OnSphere(Prior):
    support = "sphere"

    def given(self, latent_dim, encode, condition=None):
        return Wide(1.0, latent_dim)


def test_every_part_is_written_as_the_text_that_builds_it_again():
    for kind, registry in KINDS.items():
        for name, entry in registry.entries.items():
            if entry.wraps or kind == "schedule":
                continue
            text = registry.describe(name)
            assert registry.describe(text) == text, (kind, name)


def test_a_default_setting_is_not_written():
    recipe = written({"objective": "elbo(beta=1, warmup=3)", "network": "mlp(hidden=[256, 128])"})
    assert recipe == {"objective": "elbo(warmup=3.0)", "network": "mlp"}


def test_the_scale_of_a_posterior_becomes_the_runs_scale():
    recipe = written({"posterior": "full(scale=clamped(log-std, low=-3, high=1))"})
    assert recipe["posterior"] == "full"
    assert recipe["scale"] == logvar.scales.describe("clamped(log-std, low=-3, high=1)")
    with pytest.raises(LogvarError, match="scale is 'softplus', and the posterior has 'log-std'"):
        written({"scale": "softplus", "posterior": "full(scale=log-std)"})
    assert written({"scale": "log-std", "posterior": "full(scale=log-std)"})["scale"] == "log-std"


def test_a_preset_keeps_its_name():
    assert written({"scale": "pyro"}) == {"scale": "pyro"}  # it says where σ starts


def test_auto_hands_its_settings_to_what_it_chooses():
    assert written({"likelihood": "auto( noise = optimal )"})["likelihood"] == "auto(noise=optimal)"
    assert resolved("likelihood", "auto(noise=optimal)", "normal") == "normal(noise=optimal)"
    with pytest.raises(LogvarError, match=r"stands for 'bernoulli' here \(pixels\).*noise"):
        resolved("likelihood", "auto(noise=optimal)", "bernoulli", "pixels")
    with pytest.raises(LogvarError, match="auto chose|stands for 'bernoulli'"):
        logvar.VAE(likelihood="auto(noise=optimal)", **SMALL).fit((X > 3).astype(float))


def test_parts_that_do_not_go_together_are_refused_before_training():
    with pytest.raises(LogvarError, match="needs a posterior whose z is a differentiable"):
        logvar.VAE(
            posterior=Frozen(), prior=OnSphere(), objective="iwae(gradient=dreg)", **SMALL
        ).fit(X)
    with pytest.raises(
        LogvarError,
        match="'Frozen' lies on 'sphere' and prior 'standard' on 'real'.*prior='uniform-sphere' or posterior='diagonal'",
    ):
        logvar.VAE(posterior=Frozen(), **SMALL).fit(X)
    logvar.VAE(posterior=Frozen(), prior=OnSphere(), **SMALL).fit(X)


def test_a_part_of_ones_own_is_saved_by_name_and_asked_for(tmp_path):
    vae = logvar.VAE(prior=WidePrior(3.0), **SMALL).fit(X)
    assert vae.recipe_.model.prior == "WidePrior(width=3.0)"
    folder = vae.save(tmp_path / "run")
    with pytest.raises(LogvarError, match=r"logvar.load\(path, parts=\[WidePrior\]\)"):
        logvar.load(folder)
    again = logvar.load(folder, parts=[WidePrior])
    assert again.prior.width == 3.0
    np.testing.assert_array_equal(again.score_samples(X[:5]), vae.score_samples(X[:5]))


def test_a_part_of_ones_own_is_resumed(tmp_path):
    settings = {"prior": WidePrior(3.0)} | SMALL
    logvar.VAE(**settings).fit(X, checkpoints=logvar.Checkpoints(tmp_path, epochs=1))
    longer = logvar.VAE(**settings | {"epochs": 3})
    resumed = longer.fit(X, checkpoints=logvar.Checkpoints(tmp_path, epochs=1), resume=True)
    straight = logvar.VAE(**settings | {"epochs": 3}).fit(X)
    np.testing.assert_array_equal(resumed.transform(X), straight.transform(X))
    with pytest.raises(LogvarError, match="prior was 'WidePrior"):
        logvar.VAE(**settings | {"prior": "standard"}).fit(
            X, checkpoints=logvar.Checkpoints(tmp_path, epochs=1), resume=True
        )


def test_only_classes_that_no_registry_has_are_ones_own():
    assert own_classes([WidePrior(), logvar.priors.get("mixture"), "standard", None]) == (
        WidePrior,
    )


class Opaque(Prior):
    array: object = None

    def given(self, latent_dim, encode, condition=None):
        return Wide(1.0, latent_dim)


def test_what_cannot_be_written_down_is_refused():
    with pytest.raises(LogvarError, match="prior Opaque cannot be written down"):
        logvar.VAE(prior=Opaque(object()), **SMALL).fit(X)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prior", "mixtrue"], "unknown prior 'mixtrue': did you mean 'mixture'?"),
        (["--prior", "mixture(component=3)"], "unknown setting of prior 'mixture' 'component'"),
        (["--prior", "mixture(components=many)"], "components is 'many', expected an integer"),
        (["--prior", "mixture(components=0)"], "components is 0, expected at least 1"),
        (["--objective", "iwae(gradient=drag)"], "gradient is 'drag'"),
        (["--posterior", "full(scale=log-sdt)"], "did you mean 'log-std'?"),
        (["--likelihood", "normal(noise=best)"], "noise is 'best'"),
        (["--objective", "elbo(beta=-1)"], "beta is -1, expected at least 0"),
        (["--network", "mlp(hidden=[0])"], "expected at least 1"),
        (["--prior", "mixture(components=3"], "cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_part_costs_one_line(arguments, said, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["logvar", "fit", "digits", *arguments])
    with pytest.raises(SystemExit) as leaving:
        main()
    error = capsys.readouterr().err
    assert leaving.value.code == 2
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_settings_texts_of_the_recipe_name_every_part():
    """`logvar --help` cannot import the registries: they need JAX."""
    import typing

    from logvar.recipe import ModelSettings, ObjectiveSettings, TrainingSettings

    hints = {}
    for section in (ModelSettings, ObjectiveSettings, TrainingSettings):
        hints |= typing.get_type_hints(section, include_extras=True)
    for kind in ("posterior", "prior", "likelihood", "objective", "network", "optimizer"):
        text = hints[kind].__metadata__[0]
        missing = [name for name in KINDS[kind].names() if name not in text]
        assert not missing, f"the help of {kind} does not name {missing}"


def test_specs_carry_the_runs_scale():
    recipe = Recipe().replace(scale="softplus", posterior="full")
    assert logvar.scales.describe(specs(recipe).posterior.scale) == "softplus"


@pytest.mark.parametrize("text", ["bernoulli(noise=shared)", "bernoulli(3)"])
def test_a_part_without_settings_says_so(text):
    with pytest.raises(LogvarError, match="likelihood 'bernoulli' takes no settings, got"):
        logvar.likelihoods.get(text)
