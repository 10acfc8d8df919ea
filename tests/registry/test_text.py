"""The text form of parts: what is written is read back, and nothing is evaluated."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logvar.registry import Call, formatted, parsed

NAMES = st.from_regex(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", fullmatch=True).filter(
    lambda name: name not in ("true", "false", "none")
)
KEYS = st.from_regex(r"[a-z][a-z_]*", fullmatch=True).filter(
    lambda name: name not in ("true", "false", "none")
)
TEXTS = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=8)
PLAIN = st.one_of(
    st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none(),
    TEXTS.filter(lambda text: not re.fullmatch("[-\\w]+", text, re.ASCII)),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(PLAIN, st.builds(Call, NAMES, st.just(()), st.just(()))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.builds(
            Call, NAMES, st.lists(inner, max_size=2).map(tuple),
            st.dictionaries(KEYS, inner, max_size=2).map(lambda d: tuple(d.items())),
        ),
    ),
    max_leaves=6,
)  # fmt: skip


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(NAMES, st.lists(VALUES, max_size=2).map(tuple), st.dictionaries(KEYS, VALUES, max_size=3))
def test_what_is_written_is_read_back(name, arguments, values):
    text = formatted(name, arguments, values)
    assert parsed(text) == Call(name, arguments, tuple(values.items()))


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("log-std", Call("log-std")),
        (" softplus ( beta = 2 ) ", Call("softplus", (), (("beta", 2),))),
        ("t(1e-3, .5, -2.)", Call("t", (1e-3, 0.5, -2.0))),
        ("t(True, false, None)", Call("t", (True, False, None))),
        ("t([1, [a, 'b c']],)", Call("t", ((1, (Call("a"), "b c")),))),
        ("f(g(log-std, low=-3), h=softplus-ln2)",
         Call("f", (Call("g", (Call("log-std"),), (("low", -3),)),), (("h", Call("softplus-ln2")),))),
    ],
)  # fmt: skip
def test_forms(text, call):
    assert parsed(text) == call


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a name or a value, got the end"),
        ("1", "expected a name, got '1'"),
        ("a(", "got the end"),
        ("a)", r"expected the end, got '\)'"),
        ("a b", "expected the end, got 'b'"),
        ("a(1 2)", "expected ',', got '2'"),
        ("a(b=1, b=2)", "'b' is set twice"),
        ("a(b=1, 2)", "an argument without a name comes after b"),
        ("a(b=)", r"got '\)'"),
        ("a(=1)", "got '='"),
        ("a(b;c)", "';' has no meaning here"),
        ("a(1+1)", r"expected ',', got '\+1'"),
        ("a.b", "'.' has no meaning here"),
        ("a('b\\n')", "has no meaning here"),
    ],
)
def test_errors_say_what_was_expected_where(text, says):
    with pytest.raises(ValueError, match=says):
        parsed(text)


def test_nothing_is_evaluated(tmp_path):
    trap = tmp_path / "trap"
    call = parsed("f(__import__('os'))")
    assert call == Call("f", (Call("__import__", ("os",)),))
    assert not trap.exists()
