"""The short version of `make crash`: a few kills at random moments, compared byte by byte."""

import signal

import numpy as np
import pytest

from tests.cases import slow
from tests.crash.harness import Place


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("a place to crash"), epochs=20)


@pytest.mark.slow
@pytest.mark.parametrize("kill", range(6))
def test_a_killed_run_goes_on_to_the_same_bytes(place, kill):
    after = np.random.default_rng(kill).uniform(0.3, 1.0) * place.seconds
    place.interrupt(f"run{kill}", signal.SIGKILL, after, cold=False)
    assert place.finish(f"run{kill}") == []


@pytest.mark.parametrize(
    ("number", "moment", "times"),
    [
        (signal.SIGKILL, "training", 1),
        slow(signal.SIGINT, "loading or compiling", 1),
        (signal.SIGINT, "training", 2),
        (signal.SIGTERM, "evaluation or report", 1),
    ],
)
def test_a_run_goes_on_from_wherever_a_signal_ended_it(place, number, moment, times):
    out = f"{number.name} {times} {moment}"
    place.interrupt_in(out, number, moment, times)
    assert place.finish(out) == []
