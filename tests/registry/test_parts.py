"""The registry of a kind of part: built from text, checked, and written down again."""

import dataclasses

import pytest

from logvar.errors import LogvarError
from logvar.registry import Entry, Registry, setting


class Shape:
    pass


@dataclasses.dataclass(frozen=True)
class Box(Shape):
    width: float = setting(1.0, help="how wide", above=0)
    corners: tuple[int, ...] = setting((4,), help="how many", at_least=3, at_most=9)
    paint: str = setting("red", help="the colour", choices=("red", "blue"))
    filled: bool = setting(False, help="whether it is solid")


@dataclasses.dataclass(frozen=True)
class Ball(Shape):
    radius: float = setting(help="how large", above=0)


@dataclasses.dataclass(frozen=True)
class Turned(Shape):
    shape: Shape
    by: float = setting(90.0, help="degrees", at_least=0, below=360)


SHAPES = Registry(
    "shape", Shape,
    {
        "box": Entry(Box, "□"), "ball": Entry(Ball), "turned": Entry(Turned, wraps=True),
        "blue-box": Entry(lambda: Box(paint="blue"), preset=True),
    },
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "built", "described"),
    [
        ("box", Box(), "box"),
        ("box(width=2)", Box(2.0), "box(width=2.0)"),
        ("box(2, [3, 5])", Box(2.0, (3, 5)), "box(width=2.0, corners=[3, 5])"),
        ("box(paint=blue)", Box(paint="blue"), "blue-box"),
        ("box(paint='blue', filled=true)", Box(paint="blue", filled=True), "box(paint=blue, filled=True)"),
        ("ball(.5)", Ball(0.5), "ball(radius=0.5)"),
        ("blue-box", Box(paint="blue"), "blue-box"),
        ("turned(ball(2))", Turned(Ball(2.0)), "turned(ball(radius=2.0))"),
        ("turned(turned(box), by=45)", Turned(Turned(Box()), 45.0), "turned(turned(box), by=45.0)"),
    ],
)  # fmt: skip
def test_built_and_described(text, built, described):
    assert SHAPES.get(text) == built
    assert SHAPES.describe(text) == described
    assert SHAPES.get(SHAPES.describe(built)) == built


def test_objects_and_keywords_are_accepted():
    box = Box(3.0)
    assert SHAPES.get(box) is box
    assert SHAPES.get("box", width=3) == box
    assert SHAPES.get("turned", box, by=1) == SHAPES.get("turned", "box(3)", 1) == Turned(box, 1.0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("bal", "unknown shape 'bal': did you mean 'ball'"),
        ("box(widht=2)", "unknown setting of shape 'box' 'widht': did you mean 'width'"),
        ("box(width=wide)", "width is 'wide', expected a number"),
        ("box(width=true)", "width is True, expected a number"),
        ("box(width=0)", "width is 0, expected above 0"),
        ("box(corners=[3, 2])", "corners is .3, 2., expected at least 3 and at most 9"),
        ("box(corners=3)", "corners is 3, expected a list"),
        ("box(corners=[3.5])", "expected a list"),
        ("box(paint=green)", "paint is 'green', expected one of red, blue"),
        ("box(filled=1)", "filled is 1, expected true or false"),
        ("box(1, [3], red, true, 5)", "got 5 settings: expected at most 4"),
        ("box(1, width=2)", "width is given twice"),
        ("ball", "missing 1 required positional argument: 'radius'"),
        ("turned(box, by=360)", "by is 360, expected at least 0 and below 360"),
        ("turned(circle)", "unknown shape 'circle'"),
        ("box(", "cannot be read: expected a name or a value, got the end"),
        (7, "shape is 7: expected a name such as 'box', or a Shape"),
    ],
)
def test_what_does_not_fit_is_one_line(given, says):
    with pytest.raises(LogvarError, match=says) as caught:
        SHAPES.get(given)
    assert "\n" not in str(caught.value)


@dataclasses.dataclass(frozen=True)
class Own(Shape):
    """A user's own, which the registry lacks."""

    sides: int = 3
    name: str = "a"


def test_a_part_from_outside_is_written_with_its_class_and_read_where_that_is_given():
    own = Own(sides=5)
    assert SHAPES.get(own) is own and SHAPES.is_own(own) and not SHAPES.is_own(Box(2.0))
    assert SHAPES.describe(own) == "Own(sides=5)"
    assert SHAPES.describe(Turned(own)) == "turned(Own(sides=5))"
    with pytest.raises(LogvarError, match="'Own' is a class of your own.*pass the object"):
        SHAPES.get("Own(sides=5)")
    extended = SHAPES.extended([Own, int])
    assert extended.get("Own(sides=5)") == own and extended.get("turned(Own)") == Turned(Own())
    assert SHAPES.extended([int]) is SHAPES


def test_a_part_from_outside_whose_settings_text_cannot_hold_is_refused():
    class Hidden(Shape):
        def __init__(self):
            self.sides = 3

    with pytest.raises(LogvarError, match="Hidden cannot be written down: make it a dataclass"):
        SHAPES.describe(Hidden())
    with pytest.raises(LogvarError, match="Own cannot be written down .*fields that are numbers"):
        SHAPES.describe(Own(name=object()))
