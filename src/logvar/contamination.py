"""The share of rows that an outlier detector calls odd: its check, which imports nothing heavy.

The command line checks it before JAX is imported, `logvar.OutlierVAE` when it is fitted.
"""

import numbers
from typing import Any

from logvar.errors import LogvarError

AUTO = "auto"
"""The threshold is Tukey's fence, whatever share lies beyond it."""
MOST = 0.5
"""The largest share: what most rows are is not odd."""


def check_contamination(contamination: Any, name: str = "contamination") -> None:
    """Check a share of odd rows.

    Args:
        contamination: a number, or "auto".
        name: what messages call it.

    Raises:
        LogvarError: it is neither "auto" nor in (0, 0.5].

    Example:
        >>> check_contamination(0.1)
        >>> check_contamination(0.7, "--contamination")
        Traceback (most recent call last):
        logvar.errors.LogvarError: --contamination is 0.7: expected 'auto', or a share of the rows \
above 0 and at most 0.5
    """
    number = isinstance(contamination, numbers.Real) and not isinstance(contamination, bool)
    if contamination == AUTO or (number and 0 < contamination <= MOST):
        return
    raise LogvarError(
        f"{name} is {contamination!r}: expected {AUTO!r}, or a share of the rows above 0 and at "
        f"most {MOST}"
    )
