"""Images and their labels: Fashion-MNIST from its four IDX files, or scikit-learn's digits for a quick look.

Both come as images of 28 by 28 in three parts: what trains, what decides between ways to train (validation), and
what is read once, at the end (test).
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

Part: TypeAlias = tuple[Tensor, Tensor]
"""Images, (number, 1, 28, 28), and labels, (number)."""

SOURCES = ("fashion-mnist", "digits")
PARTS = ("train", "validation", "test")
VARIABLE = "AUTOPRUNE_FASHION_MNIST"
PACKAGED = Path("/usr/share/datasets/fashion-mnist")
HELD_OUT = 5_000
"""So many of the 60,000 training images, drawn at random but always the same, are the validation part."""

FILES = {"train": "train-{}.gz", "validation": "train-{}.gz", "test": "t10k-{}.gz"}
IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
UNSIGNED_BYTES = 8
"""How an IDX file names the type of its numbers."""


class DataError(Exception):
    """The data are not there, or are not what they should be."""


def load(part: str, source: str = "fashion-mnist", folder: str | Path | None = None) -> Part:
    """One of PARTS of one of SOURCES. Fashion-MNIST is read from `folder`, or from where `find` finds it."""
    if source == "digits":
        return _digits(part)
    images, labels = (find(folder) / FILES[part].format(kind) for kind in (IMAGES, LABELS))
    pixels, classes = read_idx(images), read_idx(labels)
    if pixels.ndim != 3 or pixels.shape[1:] != (28, 28) or classes.shape != pixels.shape[:1]:
        raise DataError(
            f"{images}: given {pixels.shape} pixels and {classes.shape} labels; expected (n, 28, 28) and (n,)"
        )
    if part == "test":
        chosen = np.arange(len(classes))
    else:
        order = np.random.default_rng(0).permutation(len(classes))
        chosen = order[:HELD_OUT] if part == "validation" else order[HELD_OUT:]
    scaled = torch.from_numpy(pixels[chosen]).unsqueeze(1).float().div_(255)
    return scaled.sub_(0.2860).div_(0.3530), torch.from_numpy(classes[chosen]).long()


def find(folder: str | Path | None = None) -> Path:
    """The folder with the four files: the one given, or else named by the environment, or else the package's."""
    given = folder or os.environ.get(VARIABLE)
    looked = Path(given) if given else PACKAGED
    names = sorted({name.format(kind) for name in FILES.values() for kind in (IMAGES, LABELS)})
    missing = [name for name in names if not (looked / name).is_file()]
    if missing:
        raise DataError(
            f"no Fashion-MNIST in {looked} (missing: {', '.join(missing)}): on Debian and Ubuntu, apt-get install "
            f"dataset-fashion-mnist puts it into {PACKAGED}; elsewhere give its folder with --folder PATH or "
            f"{VARIABLE}=PATH; --data digits runs without it"
        )
    return looked


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in a gzipped IDX file of unsigned bytes: two zeros, type, dimensions; each size; the numbers."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: given a file that cannot be unpacked ({error}); expected a whole .gz file") from None
    if len(content) < 4 or content[:3] != bytes([0, 0, UNSIGNED_BYTES]):
        raise DataError(f"{path}: given a file that begins with {content[:4].hex(' ')}; expected IDX, 00 00 08")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(
            f"{path}: given {len(content)} bytes; expected {start} for the sizes of {dimensions} dimensions"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    numbers = np.frombuffer(content, dtype=np.uint8, offset=start)
    if numbers.size != np.prod(shape, dtype=np.int64):
        raise DataError(f"{path}: given {numbers.size} numbers; expected {' x '.join(map(str, shape))} of them")
    return numbers.reshape(shape)


def _digits(part: str) -> Part:
    """1,077 of the 1,797 digits train, and 360 each are left for the other parts. They are enlarged to 28 by 28."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    first, last = {"train": (0, 1077), "validation": (1077, 1437), "test": (1437, 1797)}[part]
    chosen = np.random.default_rng(0).permutation(len(digits.target))[first:last]
    images = torch.tensor(digits.images[chosen], dtype=torch.float32).unsqueeze(1) / 16
    enlarged = interpolate(images, size=(28, 28), mode="bilinear", align_corners=False)
    return enlarged.sub_(0.3053).div_(0.3241), torch.tensor(digits.target[chosen]).long()
