"""The list of networks, for recipes, the command line, documentation and tests."""

from logvar.networks.base import NetworkSpec, Shape
from logvar.networks.images import Conv
from logvar.networks.mlp import MLP
from logvar.networks.tutorial import Tutorial
from logvar.registry import Entry, Registry

NETWORKS = Registry(
    "network",
    NetworkSpec,  # type: ignore[type-abstract]
    {
        "mlp": Entry(MLP, "dense layers, SiLU", "Elfwing et al. 2018 (arXiv 1702.03118)"),
        "conv": Entry(Conv, "strided 3 × 3 convolutions, SiLU", "logvar"),
        "tutorial": Entry(
            Tutorial, "strided 3 × 3 convolutions, ReLU", "TensorFlow's CVAE tutorial"
        ),
    },
)


def choose(shape: Shape) -> str:
    """Return the network that "auto" selects: convolutions for images of at least 16 × 16."""
    is_image = len(shape) in (2, 3) and min(shape[:2]) >= 16
    return "conv" if is_image else "mlp"


def names() -> list[str]:
    """Return the names of all networks.

    Example:
        >>> import logvar
        >>> logvar.networks.names()
        ['mlp', 'conv', 'tutorial']
    """
    return NETWORKS.names()


def get(network: str | NetworkSpec, /, **settings: object) -> NetworkSpec:
    """Return the network of a text; your own object is returned unchanged.

    Raises:
        LogvarError: the name is unknown (the nearest one is named) or a setting does not fit.

    Example:
        >>> import logvar
        >>> logvar.networks.get("mlp(hidden=[64])").hidden
        (64,)
    """
    return NETWORKS.get(network, **settings)


def describe(network: str | NetworkSpec) -> str:
    """Return the text from which `get` rebuilds this network.

    Example:
        >>> import logvar
        >>> logvar.networks.describe(logvar.networks.get("mlp", hidden=(64, 32)))
        'mlp(hidden=[64, 32])'
    """
    return NETWORKS.describe(network)
