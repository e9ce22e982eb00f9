"""95 % confidence intervals: of a share that was counted, and of a mean over blocks.

Plain arithmetic; it refuses to know what was measured.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

LEVEL = 0.95
_Z = 1.959963984540054
# From here on Student's quantile differs from the normal one by less than 0.3 %.
_FREEDOM_MAX = 500


class Interval(NamedTuple):
    """Both ends."""

    low: float
    high: float


def wilson(hits: int, count: int) -> Interval:
    """Wilson's interval of a share; it holds for few trials and for shares near 0 and 1.

    >>> low, high = wilson(8, 10)
    >>> round(low, 3), round(high, 3)
    (0.49, 0.943)
    """
    share, z2 = hits / count, _Z * _Z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    reach = math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    reach *= _Z / (1 + z2 / count)
    # Rounding must not push an end past what a share can be, nor past the share itself.
    return Interval(max(0.0, min(middle - reach, share)), min(1.0, max(middle + reach, share)))


def of_ratio(sums: Sequence[float], counts: Sequence[int]) -> Interval | None:
    """The interval of `sum(sums) / sum(counts)`, whose blocks are the independent units.

    With k blocks and the ratio m, its variance is k / (k - 1) * sum((s_i - m n_i)^2) / (sum n_i)^2
    (the ratio estimator), and the reach Student's quantile for k - 1 degrees of freedom times its
    root. One block says nothing of a variance: None.
    """
    blocks, total = len(sums), sum(counts)
    if blocks < 2:
        return None
    mean = math.fsum(sums) / total
    squares = math.fsum((s - mean * n) ** 2 for s, n in zip(sums, counts, strict=True))
    error = math.sqrt(blocks / (blocks - 1) * squares) / total
    reach = student(blocks - 1) * error
    return Interval(mean - reach, mean + reach)


def student(freedom: int) -> float:
    """The value that Student's t stays within, on both sides, with a probability of 95 %.

    >>> round(student(4), 3)
    2.776
    """
    if freedom >= _FREEDOM_MAX:
        return _Z
    low, high = _Z, 13.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < LEVEL else (low, middle)
    return low


def _within(t: float, freedom: int) -> float:
    """P(|T| <= t), the finite sum that it is for whole degrees of freedom."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = freedom % 2 == 1
    # Odd: cos + 2/3 cos^3 + 2*4/(3*5) cos^5 ...; even: 1 + 1/2 cos^2 + 1*3/(2*4) cos^4 ...
    term, first = (cosine, 3) if is_odd else (1.0, 2)
    total = term if freedom > 1 else 0.0
    for step in range(first, freedom - 1, 2):
        term *= cosine * cosine * (step - 1) / step
        total += term
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total
