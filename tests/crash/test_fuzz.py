"""The short version of `make crash`'s fuzzing."""

from tests.crash.fuzz import run_all


def test_mutated_run_folders_load_right_or_give_one_error():
    outcomes, wrong = run_all(80, seed=1)
    assert wrong == []
    assert outcomes["one error"] > 40
