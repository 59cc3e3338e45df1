"""What the tests of plug-ins share: activations, and the digest that ``run`` prints."""

import hashlib

import numpy as np


def random_activations(folder, m, k):
    """Integers [m, k], also in the file ``a.npy``."""
    a = np.random.default_rng(7).integers(-127, 128, (m, k)).astype(np.int8)
    np.save(folder / "a.npy", a)
    return a.astype(np.int64)


def digest(y):
    return hashlib.sha256(np.ascontiguousarray(y, dtype="<i8").tobytes()).hexdigest()
