"""Which cases of a long product `make test` runs; the others are marked slow, for `make test-all`."""

import pytest


def slow(*values, **settings):
    """A case for `make test-all` alone."""
    return pytest.param(*values, marks=pytest.mark.slow, **settings)


def some(cases, quick):
    """All cases, of which `make test` runs those in `quick`."""
    return [
        case if case in quick else slow(*case) if isinstance(case, tuple) else slow(case)
        for case in cases
    ]


def every_value_once(first, second, always=()):
    """All pairs, of which `make test` runs enough that each value of either list has its turn.

    Args:
        first: values of the first parameter.
        second: values of the second parameter, fewer than of the first.
        always: values of the second parameter whose pairs are all run.
    """
    rest = [value for value in second if value not in always]
    pairs = []
    for number, one in enumerate(first):
        turn = rest[number % len(rest)]
        for other in second:
            pair = (one, other)
            pairs.append(pair if other in always or other == turn else slow(*pair))
    return pairs
