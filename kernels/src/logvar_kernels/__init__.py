"""Faster forms of logvar's operations on CPUs with AVX-512.

`extension` is what logvar finds through its entry point. C kernels (`c/`) are custom calls of XLA's
that share its threads; `programs` rewrites traced programs, so that their products call the kernels
or take forms that XLA 0.10 computes fast.
"""

from logvar.backend.extension import Extension

__version__ = "0.1.0"


class Kernels(Extension):
    """What logvar finds. This class has no forms: it is for processes that they are not for."""

    name = "logvar-kernels"
    version = __version__
    interface = 1

    def __init__(self, reason: str | None = None):
        self._reason = reason

    def why_inert(self) -> str | None:
        return self._reason


def extension() -> Kernels:
    """The forms. Where they are inert they are not imported: they use interfaces that other
    versions of JAX may not have."""
    from logvar_kernels.library import why_not

    reason = why_not()
    if reason is not None:
        return Kernels(reason)
    from logvar_kernels.forms import Forms

    return Forms()
