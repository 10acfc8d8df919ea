"""The spelling of the formulas' functions in each framework.

Formulas are Python with bare names: `exp(x)`, `at_most(x, 0.0)`. A dialect translates each bare
call; arguments are names or numbers, so a pattern is enough.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping
from types import MappingProxyType

from logvar.errors import unknown_name


@dataclasses.dataclass(frozen=True)
class Dialect:
    """The spelling of one framework."""

    imports: str
    prefix: str
    """The prefix of its elementary functions."""
    special: Mapping[str, str]
    """Calls with another spelling; {0}, {1} are the arguments."""
    sample: str
    """The sampler."""

    def spell(self, code: str) -> str:
        """Write code with bare names in this dialect; comments and docstrings are not changed."""
        return "\n".join(self._spell_line(line) for line in code.split("\n"))

    def _spell_line(self, line: str) -> str:
        if line.lstrip().startswith('"""'):
            return line
        code, mark, comment = line.partition("#")
        for name, template in self.special.items():
            pattern = re.compile(rf"\b{name}\(([^(),]+)(?:, ([^(),]+))?(?:, ([^(),]+))?\)")
            code = pattern.sub(functools.partial(_filled, template), code)
        code = re.sub(rf"(?<![\w.])({'|'.join(_PLAIN)})\(", rf"{self.prefix}.\1(", code)
        return code + mark + comment


def _filled(template: str, call: re.Match[str]) -> str:
    return template.format(*call.groups())


_PLAIN = ("exp", "expm1", "log1p", "log", "tanh", "sqrt", "where", "abs")

_TF_SPECIAL = {
    "expm1": "tf.math.expm1({0})",
    "log1p": "tf.math.log1p({0})",
    "log": "tf.math.log({0})",
}

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "numpy": Dialect(
            "import numpy as np",
            "np",
            {
                "softplus": "np.logaddexp(0.0, {0})",
                "at_most": "np.minimum({0}, {1})",
                "at_least": "np.maximum({0}, {1})",
                "between": "np.clip({0}, {1}, {2})",
                "constant": "{0}",
                "array": "np.array({0})",
            },
            '''def sample(mean, raw, rng):
    """One draw; rng is a numpy.random.Generator."""
    return mean + sigma(raw) * rng.standard_normal(np.shape(mean))''',
        ),
        "jax": Dialect(
            "import jax\nimport jax.numpy as jnp",
            "jnp",
            {
                "softplus": "jax.nn.softplus({0})",
                "at_most": "jnp.minimum({0}, {1})",
                "at_least": "jnp.maximum({0}, {1})",
                "between": "jnp.clip({0}, {1}, {2})",
                "constant": "jax.lax.stop_gradient({0})",
                "array": "jnp.array({0})",
            },
            '''def sample(mean, raw, key):
    """One draw; key is a jax.random.key."""
    return mean + sigma(raw) * jax.random.normal(key, jnp.shape(mean))''',
        ),
        "torch": Dialect(
            "import torch",
            "torch",
            {
                # torch's own softplus returns x itself beyond a threshold, off by 2e-9 in float64.
                "softplus": "torch.logaddexp({0}, torch.zeros_like({0}))",
                "at_most": "{0}.clamp(max={1})",
                "at_least": "{0}.clamp(min={1})",
                "between": "torch.clamp({0}, {1}, {2})",
                "constant": "{0}.detach()",
                "array": "torch.tensor({0})",
            },
            '''def sample(mean, raw):
    """One draw."""
    return mean + sigma(raw) * torch.randn_like(mean)''',
        ),
        "tensorflow": Dialect(
            "import tensorflow as tf",
            "tf",
            _TF_SPECIAL
            | {
                "softplus": "tf.math.softplus({0})",
                "at_most": "tf.minimum({0}, {1})",
                "at_least": "tf.maximum({0}, {1})",
                "between": "tf.clip_by_value({0}, {1}, {2})",
                "constant": "tf.stop_gradient({0})",
                "array": "tf.constant({0})",
            },
            '''def sample(mean, raw):
    """One draw."""
    return mean + sigma(raw) * tf.random.normal(tf.shape(mean), dtype=mean.dtype)''',
        ),
    }
)


def get(name: str) -> Dialect:
    """Return the dialect of a framework.

    Raises:
        LogvarError: the name is unknown.
    """
    if name not in DIALECTS:
        raise unknown_name("framework", name, DIALECTS)
    return DIALECTS[name]
