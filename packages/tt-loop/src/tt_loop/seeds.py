"""Seeds made from numbers: the randomness of a run is a function of its seed and of where it is."""

from __future__ import annotations

import random
import struct
from hashlib import blake2b

import numpy as np
import torch

__all__ = ["mixed_seed", "seed_everything", "seed_host"]

_SEED = 2**64


def mixed_seed(*parts: int) -> int:
    """One well-mixed 64-bit seed from several numbers: the BLAKE2b digest (RFC 7693) of them.

    Takes about a microsecond, so that every sample of a data set can have its own.
    """
    packed = struct.pack(f"<{len(parts)}Q", *(part % _SEED for part in parts))
    return int.from_bytes(blake2b(packed, digest_size=8).digest(), "little")


def seed_host(seed: int) -> None:
    """Seed the generators that code on the CPU draws from: Python's, NumPy's and torch's."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed % _SEED)


def seed_everything(seed: int, deterministic: bool = False) -> int:
    """Seed every generator, those of accelerators included, and return the seed.

    Args:
        seed: Any integer.
        deterministic: Also have torch use deterministic algorithms only, and raise where there is
            none; cuBLAS needs the environment variable ``CUBLAS_WORKSPACE_CONFIG=:4096:8`` for it.

    Example:
        >>> seed_everything(7)
        7
        >>> first = torch.rand(2)
        >>> _ = seed_everything(7)
        >>> torch.equal(first, torch.rand(2))
        True
    """
    seed_host(seed)
    torch.manual_seed(seed % _SEED)
    if deterministic:
        torch.use_deterministic_algorithms(mode=True)
        torch.backends.cudnn.benchmark = False
    return seed
