"""Greatest errors of integer functions over the whole input range, beside published forms.

Published forms are evaluated in float64, so that what is shown for them is their formula's error
alone; ours is the integer function, all roundings of it included.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit

from bitwright.models.nonlinear.activations import CURVES, times_logistic
from bitwright.models.nonlinear.exponential import ONE, exponential

Values = NDArray[np.float64]
LN2 = float(np.log(2))


def square_exponential(x: Values) -> Values:
    """I-BERT: ``0.3585 * (r + 1.353)**2 + 0.344`` of the rest ``r`` after halvings, for x <= 0."""
    halvings = np.floor(-x / LN2)
    rest = x + halvings * LN2
    result: Values = (0.3585 * (rest + 1.353) ** 2 + 0.344) * 2.0 ** -halvings
    return result


def line_exponential(x: Values) -> Values:
    """I-ViT: base 2 by ``x + x/2 - x/16``, and ``1 + r/2`` of the rest ``r``, for x <= 0."""
    y = x + x / 2 - x / 16
    halvings = np.floor(-y)
    result: Values = (1 + (y + halvings) / 2) * 2.0 ** -halvings
    return result


def square_gelu(x: Values) -> Values:
    """I-BERT: erf as ``-0.2888 * (min(|x|, 1.769) - 1.769)**2 + 1``."""
    u = x / np.sqrt(2)
    result: Values = x / 2 * (1 + np.sign(u) * (1 - 0.2888 * (np.minimum(
        np.abs(u), 1.769) - 1.769) ** 2))
    return result


def line_gelu(x: Values) -> Values:
    """I-ViT: ``x * logistic(1.702 * x)``, the logistic function exact."""
    result: Values = x * expit(1.702 * x)
    return result


def exact(name: str, x: Values) -> Values:
    """An activation by its definition."""
    result: Values = {
        "gelu": lambda: x / 2 * (1 + erf(x / np.sqrt(2))),
        "gelu_tanh": lambda: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3))),
        "silu": lambda: x * expit(x),
    }[name]()
    return result


def rows() -> list[tuple[str, str, float]]:
    """Function, form, greatest absolute error: of the exponential for 0 to -16 in steps of 2**-16
    (all inputs), of activations for 16-bit inputs from -8 to 8 (all)."""
    t = np.arange(16 * 65536)
    x = -t / 65536
    found = [("exp", form, np.abs(values - np.exp(x)).max()) for form, values in (
        ("I-BERT, square", square_exponential(x)), ("I-ViT, straight line", line_exponential(x)),
        ("here, cubic", exponential(t) / ONE))]
    code, fraction = np.arange(-32768, 32768), 12
    x = code / 2.0 ** fraction
    found += [("gelu", form, np.abs(values - exact("gelu", x)).max()) for form, values in (
        ("I-BERT, square", square_gelu(x)), ("I-ViT, 1.702 x", line_gelu(x)))]
    for name, curve in CURVES.items():
        y = times_logistic(code, np.array(fraction), curve) / 2.0 ** fraction
        found.append((name, "here, output step 2**-12", np.abs(y - exact(name, x)).max()))
    return [(name, form, float(error)) for name, form, error in found]
