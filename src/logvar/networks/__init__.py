"""Encoders and decoders.

`base` is the contract; one pair per file; `registry` lists all; `checks` are for users' own
networks.
"""

from logvar.networks.base import Network, NetworkSpec, Shapes
from logvar.networks.registry import NETWORKS, choose, describe, get, names

__all__ = ["NETWORKS", "Network", "NetworkSpec", "Shapes", "choose", "describe", "get", "names"]
