"""Named sets of settings: the tutorial's, and those of papers and libraries."""

import types
from collections.abc import Mapping
from typing import Any, NamedTuple

PRESETS: Mapping[str, dict[str, Any]] = types.MappingProxyType(
    {
        "tutorial": {
            "binarization": "threshold",
            "latent_dim": 2,
            "scale": "log-variance",
            "likelihood": "bernoulli",
            "network": "tutorial",
            "objective": "elbo(analytic_kl=false)",
            "epochs": 10,
            "batch_size": 32,
            "learning_rate": 1e-4,
            "optimizer": "adam-keras",
            "validation_fraction": 0.0,
            "patience": 0,
        },
        "missing-iwae": {
            "latent_dim": 10,
            "network": "mlp(hidden=[128, 128])",
            "objective": "iwae(samples=20)",
            "epochs": 200,
            "batch_size": 32,
            "learning_rate": 1e-3,
            "validation_fraction": 0.0,
            "patience": 0,
        },
        "iwae": {
            "binarization": "dynamic",
            "latent_dim": 50,
            "likelihood": "bernoulli",
            "network": "mlp(hidden=[200, 200], activation=tanh, initialization=glorot)",
            "objective": "iwae(samples=50)",
            "epochs": 3280,
            "batch_size": 20,
            # 1e-3·10^(−i/7) for 3^i epochs, i = 0 … 7.
            "learning_rate": (
                "piecewise(rate=0.001, at=[1, 4, 13, 40, 121, 364, 1093], "
                "factor=0.7196856730011519)"
            ),
            "optimizer": "adam(eps=1e-4)",
            "validation_fraction": 0.0,
            "patience": 0,
        },
        "beta-tcvae": {
            "latent_dim": 10,
            "likelihood": "bernoulli",
            "network": "mlp(hidden=[1200, 1200], activation=relu, initialization=pytorch)",
            "objective": "beta-tc(beta=6)",
            "epochs": 50,
            "batch_size": 2048,
            "learning_rate": 1e-3,
            "validation_fraction": 0.0,
            "patience": 0,
        },
        "vampprior": {
            "binarization": "static",
            "latent_dim": 40,
            # Their Hardtanh keeps log σ² in [−6, 2], so log σ in [−3, 1].
            "scale": "clamped(log-variance, low=-3, high=1, hard=True)",
            "prior": "vamp(components=500)",
            "likelihood": "bernoulli",
            "network": "mlp(hidden=[300, 300], initialization=he)",
            "objective": "elbo(warmup=100)",
            "epochs": 2000,
            "batch_size": 100,
            "learning_rate": 5e-4,
            "validation_fraction": 1 / 6,
            "patience": 50,
        },
        "s-vae": {
            "binarization": "dynamic",
            "latent_dim": 11,
            # Their κ is softplus(r) + 1, and r starts around 0.
            "scale": "floored(softplus, minimum=1)",
            "initial_sigma": "as-is",
            "posterior": "power-spherical",
            "prior": "uniform-sphere",
            "likelihood": "bernoulli",
            "network": "mlp(hidden=[256, 128], activation=relu, initialization=glorot)",
            "objective": "elbo(warmup=100)",
            "epochs": 1000,
            "batch_size": 64,
            "learning_rate": 1e-3,
            "validation_fraction": 1 / 6,
            "patience": 50,
        },
        "infovae": {
            "latent_dim": 20,
            "likelihood": "normal(noise=fixed, sigma=1)",
            # Theirs is a mean over 784 pixels plus MMD²: half a sum needs 392 times the weight.
            # Its kernel exp(−‖a − b‖²/D²) is ours with 2·D·bandwidth² = D².
            "objective": "mmd(weight=392, kernel=rbf, beta=0, bandwidth=3.1622776601683795)",
            "epochs": 33,
            "batch_size": 200,
            "learning_rate": 1e-3,
            "validation_fraction": 0.0,
            "patience": 0,
        },
        "pythae-vae": {
            "likelihood": "normal(noise=fixed, sigma=1)",
            "network": "mlp(hidden=[512], activation=relu, initialization=pytorch)",
            "epochs": 100,
            "batch_size": 64,
            "learning_rate": 1e-4,
            "validation_fraction": 0.0,
            "patience": 0,
        },
    }
)
"""Settings by name, for `logvar fit --preset`."""


class About(NamedTuple):
    """Where a preset is from."""

    source: str
    published: str
    """The number that the source reports under these settings, or what it reports."""
    differs: str
    """Where the preset departs from the source, and why."""


ABOUT: Mapping[str, About] = types.MappingProxyType(
    {
        "tutorial": About(
            "TensorFlow's tutorial, tensorflow/docs, site/en/tutorials/generative/cvae.ipynb",
            "none",
            "nothing",
        ),
        "missing-iwae": About(
            "Mattei & Frellsen 2019 (arXiv 1812.02633)",
            "mean squared error of imputed cells of breast cancer, 0.287",
            "our likelihood for tables, two layers, a fifth of their 1,001 epochs at five times "
            "their rate",
        ),
        "iwae": About(
            "Burda et al. 2016 (arXiv 1509.00519), one stochastic layer, k = 50",
            "−log p(x) of MNIST, binarized dynamically, 84.78 nats (k = 50; 86.76 for k = 1)",
            "the rates are not rounded to 1e-5",
        ),
        "beta-tcvae": About(
            "Chen et al. 2018 (arXiv 1802.04942), rtqichen/beta-tcvae, the MLP of dSprites",
            "distributions of the mutual information gap, in figures",
            "encoder and decoder have two layers of 1,200 with ReLU; their decoder has three, with "
            "tanh; biases start at 0",
        ),
        "vampprior": About(
            "Tomczak & Welling 2018 (arXiv 1705.07120), jmtomczak/vae_vampprior, model `vae`",
            "−log p(x) of MNIST, Larochelle's static binarization, 85.57 nats (88.56 with a "
            "standard prior)",
            "SiLU instead of gated layers; weights start uniform, with their variance; Adam "
            "without dividing each gradient by its norm; a static draw of our own; pseudo-inputs "
            "start at training rows and stay in (0, 1) by a sigmoid, theirs start near 0 and are "
            "clipped",
        ),
        "s-vae": About(
            "Davidson et al. 2018 (arXiv 1804.00891), nicola-decao/s-vae-tf, 10 dimensions",
            "−log p(x) of MNIST, binarized dynamically, 93.16 ± 0.31 nats",
            "the power spherical distribution in place of the von Mises–Fisher; a cap of 1,000 "
            "epochs, for which they state none",
        ),
        "infovae": About(
            "Zhao et al. 2019 (arXiv 1706.02262), ShengjiaZhao/MMD-Variational-Autoencoder",
            "none under these settings",
            "q has a σ, theirs is a point; pixels are standardized; MMD² without bias; our network "
            "for images of this size instead of DCGAN's; 33 epochs of 60,000 rows instead of "
            "10,000 batches",
        ),
        "pythae-vae": About(
            "pythae's defaults (VAEConfig, BaseTrainerConfig, Encoder_VAE_MLP)",
            "none under these settings",
            "biases start at 0; no sigmoid at the decoder's end; rows that are real values are "
            "standardized; give the number of latents",
        ),
    }
)
