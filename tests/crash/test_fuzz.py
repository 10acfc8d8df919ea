"""The short version of `make crash`'s fuzzing."""

import pytest

from tests.cases import slow
from tests.crash import fuzz, fuzz_files


@pytest.mark.parametrize("mutations", [24, slow(80)])
def test_mutated_run_folders_load_right_or_give_one_error(mutations):
    outcomes, wrong = fuzz.run_all(mutations, seed=1)
    assert wrong == []
    assert outcomes["one error"] > mutations / 2


def test_mutated_data_files_and_recipes_are_read_or_answered_in_one_line():
    outcomes, wrong = fuzz_files.run_all(150, seed=1)
    assert wrong == []
    assert outcomes["read"] > 100 and outcomes["one line"] > 100
