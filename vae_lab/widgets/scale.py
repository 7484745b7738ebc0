"""Steps and readouts that follow the range of what is shown, a millionth or a million; so does `scale.js`."""

from math import ceil, floor, log, log10

CLEAN = 6  # digits after those of a step at which a number is cut: what is beyond is rounding


def round_number(x: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that does not exceed x > 0."""
    power = 10.0 ** floor(log10(x))
    return float(f"{max((m for m in (1, 2, 5) if m * power <= x * (1 + 1e-9)), default=0.5) * power:.12g}")


def decimals(step: float) -> int:
    """Digits after the point that whole steps need."""
    return max(0, ceil(-log10(step) - 1e-9))


def multiple(value: float, step: float) -> float:
    """The nearest multiple of a step, without the noise of its product."""
    return float(round(floor(value / step + 0.5) * step, decimals(step) + CLEAN))


def on_step(value: float, limits: tuple[float, float], step: float) -> float:
    """The nearest place of a slider, counted in steps from its low end; the high end is one too."""
    low, high = limits
    inside = min(max(float(value), low), high)
    nearest = round(low + floor((inside - low) / step + 0.5) * step, decimals(step) + CLEAN)
    return float(min(max(nearest, low), high))


def on_ratio(value: float, limits: tuple[float, float], last: int) -> float:
    """The nearest place of a slider whose steps, 0 … last, are of equal ratio."""
    low, high = limits
    place = round(last * log(value / low) / log(high / low))
    return float(f"{low * (high / low) ** (min(max(place, 0), last) / last):.{CLEAN}g}")


def subscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
