"""Faster forms of logvar's operations on CPUs with AVX-512.

`extension` is what logvar finds through its entry point. C kernels (`c/`) are custom calls of XLA's
that share its threads; `programs` rewrites traced programs, so that their products call the kernels
or take forms that XLA 0.10 computes fast.
"""

from typing import TYPE_CHECKING, Union

__version__ = "0.1.0"

if TYPE_CHECKING:
    from logvar_kernels.forms import Forms


class Inert:
    """What logvar finds where there are no faster forms for this process."""

    name = f"logvar-kernels {__version__}"

    def __init__(self, reason: str):
        self._reason = reason

    def why_inert(self) -> str:
        return self._reason


def extension() -> Union["Forms", Inert]:
    """The forms. Where they are inert they are not imported: they use interfaces that other
    versions of JAX may not have."""
    from logvar_kernels.library import why_not

    reason = why_not()
    if reason is not None:
        return Inert(reason)
    from logvar_kernels.forms import Forms

    return Forms()
