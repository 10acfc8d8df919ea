"""Comma-separated lists on the command line."""

from logvar.errors import LogvarError


def top_level_commas(text: str) -> list[str]:
    """Split at commas outside brackets, because scales have commas inside brackets.

    Example:
        >>> top_level_commas("log-std,clamped(log-variance, low=-7, high=3)")
        ['log-std', 'clamped(log-variance, low=-7, high=3)']
    """
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def numbers(text: str, flag: str) -> list[float]:
    """Parse a comma-separated list of numbers.

    Raises:
        LogvarError: a part of the text is not a number.
    """
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise LogvarError(
            f"{flag} is {text!r}: expected numbers with commas between them, such as 1e-3,1e-2"
        ) from error
