"""`logvar.pyod.VAE`: `OutlierVAE` under PyOD's contract, high = odd. It needs PyOD."""

import inspect
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted

from logvar.contamination import AUTO, MOST
from logvar.errors import LogvarError
from logvar.outliers import OutlierVAE

try:
    from pyod.models.base import BaseDetector
except ImportError as error:
    raise ImportError(f"logvar.pyod needs PyOD ({error}): pip install pyod") from error


class VAE(BaseDetector):
    """A variational autoencoder as a PyOD detector.

    The score of a row is −log p(x), importance-weighted, in nats; high is odd. Unlike the score of
    PyOD's own VAE it is a function of the row alone: the same in every call.

    Args:
        contamination: the share of the training rows that are outliers, in (0, 0.5]; or a
            thresholding object of PyThresh. Others are refused, in `fit` at the latest.
        settings: those of `logvar.OutlierVAE`.

    Attributes:
        decision_scores_: (rows,) scores of the training rows.
        threshold_: the score above which a row is an outlier.
        labels_: (rows,) 1 for outliers among the training rows, otherwise 0.
        detector_: the fitted `OutlierVAE`, which also explains rows, and whose `save` writes a run
            folder. It has the same threshold if contamination is a share.

    Raises:
        LogvarError: in `fit`: a setting or the rows are invalid.
        ValueError: contamination is a number outside of (0, 0.5].
    """

    def __init__(self, contamination=0.1, **settings):
        super().__init__(contamination=contamination)
        for name, value in OutlierVAE(**settings).get_params(deep=False).items():
            if name != "contamination":
                setattr(self, name, value)

    def fit(self, X, y=None) -> "VAE":
        """Fit on X (rows, features); y is ignored."""
        share = _checked(self.contamination)
        self._set_n_classes(y)
        settings = self.get_params(deep=False) | {"contamination": share}
        self.detector_ = OutlierVAE(**settings).fit(X)
        self.n_features_in_ = self.detector_.n_features_in_
        self.decision_scores_ = -self.detector_.train_scores_
        self._process_decision_scores()
        return self

    def decision_function(self, X) -> Float[np.ndarray, "rows"]:
        """Return −log p(x) of each row, nats."""
        check_is_fitted(self, ["decision_scores_", "threshold_", "labels_"])
        return -self.detector_.score_samples(X)


def _checked(contamination: Any) -> float | str:
    """Return the share of odd rows for `OutlierVAE`; "auto" if an object finds PyOD's threshold.

    PyOD looks at a number when a detector is made, not after `set_params`, and takes everything
    that is not Python's own number for such an object, after training.

    Raises:
        LogvarError: it is neither a share that PyOD knows as one nor such an object.
    """
    if isinstance(contamination, (float, int)) and 0 < contamination <= MOST:
        return contamination
    if callable(getattr(contamination, "fit", None)):
        return AUTO
    raise LogvarError(
        f"contamination is {contamination!r} ({type(contamination).__name__}): PyOD expects a "
        "float in (0, 0.5], or an object of PyThresh, which has fit and predict"
    )


def _signature() -> inspect.Signature:
    first, *_ = inspect.signature(BaseDetector).parameters.values()
    settings = inspect.signature(OutlierVAE).parameters.values()
    rest: list[Any] = [
        p.replace(kind=p.KEYWORD_ONLY) for p in settings if p.name != "contamination"
    ]
    return inspect.Signature([first, *rest])


VAE.__signature__ = _signature()
_self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
VAE.__init__.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [_self, *VAE.__signature__.parameters.values()]
)
