"""A run converted in the middle goes on as the unbroken one, byte by byte, in the programs that users run."""

import dataclasses

import numpy as np
import pytest

from logvar.runs.converting import convert
from tests.cases import some
from tests.rescaling.test_conversion import head_columns, trained
from tests.training.test_training import DIGITS, Chunks, as_bytes, run

OPTIMIZERS = ["sgd", "adam", "adamw", "adam-keras"]


@pytest.mark.parametrize(
    ("other", "optimizer"),
    some(
        [*(("log-std", each) for each in OPTIMIZERS), ("log-precision", "adam")],
        quick=[("log-std", "sgd"), ("log-precision", "adam")],
    ),
)
def test_train_convert_and_continue_under_matched_settings_is_bitwise_the_same_run(
    other, optimizer
):
    """The unbroken run under log-variance, and one converted in the middle, byte by byte."""
    more = {"optimizer": f"{optimizer}(weight_decay=0.01)", "learning_rate": 1e-2,
            "clip_norm": 30.0, "latent_dim": 3}  # fmt: skip
    whole = run(Chunks(50), epochs=6, **more)
    half = trained(validation_fraction=0.0, epochs=3, **more)
    # The same three epochs as the beginning of the unbroken run.
    begun = run(Chunks(50), epochs=3, **more)
    half.fitted_ = dataclasses.replace(
        half.fitted_, model=begun.model, state=begun.state,
        recipe=half.recipe_.replace(random_state=0),
    )  # fmt: skip
    moved, change = convert(half, other, DIGITS.train[:300])
    factor = 0.5 / moved.model_.scale.rate
    assert change.kind == "bitwise" and change.sigma == change.kl == change.elbo == 0
    assert moved.recipe_.training.match == "log-variance"
    rest = run(
        Chunks(50), epochs=6, scale=other, match="log-variance", state=moved.fitted_.state, **more
    )
    assert [m.as_dict() for m in begun.history + rest.history] == [
        m.as_dict() for m in whole.history
    ]
    columns = head_columns(factor, whole.state.params)
    for name in ("kernel", "bias"):
        expected = np.asarray(getattr(whole.state.params.encoder.head, name)) * columns
        got = np.asarray(getattr(rest.state.params.encoder.head, name))
        assert got.tobytes() == expected.astype(np.float32).tobytes()
    assert as_bytes(rest.state.params.decoder) == as_bytes(whole.state.params.decoder)
    assert as_bytes(rest.state.optimizer) == as_bytes(whole.state.optimizer)
