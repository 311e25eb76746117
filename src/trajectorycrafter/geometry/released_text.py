"""The released three-line text file of a camera move, as three lists of numbers.

The one thing a reader would get wrong: the lines may have different lengths. Each is a curve of its
own over the whole clip, so the numbers of one column belong to no common moment.
"""

import math


def parse_released_text(text: str, name: str) -> tuple[list[float], list[float], list[float]]:
    """Three lines of numbers: theta, phi (degrees), r (fraction of the radius).

    Args:
        name: what to call the text in an error, usually its path.

    Raises:
        ValueError: names the line and the field that is wrong.
    """
    lines = text.rstrip().split("\n") if text.strip() else []
    if len(lines) != 3:
        raise ValueError(
            f"{name}: expected 3 lines of numbers (theta, phi, r); got {len(lines)} line(s)."
        )
    theta, phi, r = (_numbers(line, f"{name}, line {i + 1}") for i, line in enumerate(lines))
    return theta, phi, r


def _numbers(line: str, where: str) -> list[float]:
    words = line.replace(",", " ").split()
    if not words:
        raise ValueError(f"{where}: expected at least one number; the line is empty.")
    numbers = []
    for column, word in enumerate(words):
        try:
            number = float(word)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(
                f"{where}, field {column + 1}: expected a finite number; got {word!r}."
            )
        numbers.append(number)
    return numbers
