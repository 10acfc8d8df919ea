"""logvar: variational autoencoders in which the scale parameterization is one explicit object.

Start reading in `logvar.estimator`. Names load on first use (PEP 562), so that importing the
package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.2.0.dev0"

if TYPE_CHECKING:
    from logvar import likelihoods as likelihoods
    from logvar import networks as networks
    from logvar import objectives as objectives
    from logvar import posteriors as posteriors
    from logvar import priors as priors
    from logvar import samplers as samplers
    from logvar import scales as scales
    from logvar.classifier import VAEClassifier as VAEClassifier
    from logvar.comparing import Comparison as Comparison
    from logvar.comparing import compare as compare
    from logvar.data.drawn import shapes as shapes
    from logvar.distributions.normal import Normal as Normal
    from logvar.distributions.normal import reparameterize as reparameterize
    from logvar.errors import LogvarError as LogvarError
    from logvar.estimator import VAE as VAE
    from logvar.evaluation.disentanglement.scores import disentanglement as disentanglement
    from logvar.evaluation.units import bits_per_dimension as bits_per_dimension
    from logvar.interop.keras import import_keras as import_keras
    from logvar.interop.probing.probe import probe as probe
    from logvar.loading import load as load
    from logvar.outliers import OutlierVAE as OutlierVAE
    from logvar.runs.checkpoints import Checkpoints as Checkpoints
    from logvar.training import optimizers as optimizers
    from logvar.training import schedules as schedules

_HOMES = {
    "scales": "logvar.scales",
    "posteriors": "logvar.posteriors",
    "priors": "logvar.priors",
    "samplers": "logvar.samplers",
    "likelihoods": "logvar.likelihoods",
    "objectives": "logvar.objectives",
    "networks": "logvar.networks",
    "Normal": "logvar.distributions.normal",
    "reparameterize": "logvar.distributions.normal",
    "LogvarError": "logvar.errors",
    "VAE": "logvar.estimator",
    "VAEClassifier": "logvar.classifier",
    "OutlierVAE": "logvar.outliers",
    "bits_per_dimension": "logvar.evaluation.units",
    "disentanglement": "logvar.evaluation.disentanglement.scores",
    "shapes": "logvar.data.drawn",
    "load": "logvar.loading",
    "import_keras": "logvar.interop.keras",
    "probe": "logvar.interop.probing.probe",
    "Checkpoints": "logvar.runs.checkpoints",
    "compare": "logvar.comparing",
    "Comparison": "logvar.comparing",
    "optimizers": "logvar.training.optimizers",
    "schedules": "logvar.training.schedules",
}

_MODULES = (
    "scales", "posteriors", "priors", "likelihoods", "objectives", "networks", "samplers",
    "optimizers", "schedules",
)  # fmt: skip

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> object:
    if name == "pyod":  # not in __all__, because it needs PyOD
        return importlib.import_module("logvar.pyod")
    if name not in _HOMES:
        raise AttributeError(f"module 'logvar' has no attribute {name!r}; it has {__all__}")
    module = importlib.import_module(_HOMES[name])
    return module if name in _MODULES else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
