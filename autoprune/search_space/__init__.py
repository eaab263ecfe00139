"""Search spaces: NNI's format read, checked and turned into parameters; pure Python, so it imports in milliseconds."""

from autoprune.search_space.leaves import Leaf, Normal, RandInt, Uniform
from autoprune.search_space.parse import parse_space, space_from_plain
from autoprune.search_space.space import Branch, Choice, Constant, Dimension, Option, Space, unescaped
from autoprune.search_space.walk import defaults, flatten, sample, suggest, unflatten

__all__ = [
    "Branch",
    "Choice",
    "Constant",
    "Dimension",
    "Leaf",
    "Normal",
    "Option",
    "RandInt",
    "Space",
    "Uniform",
    "defaults",
    "flatten",
    "parse_space",
    "sample",
    "space_from_plain",
    "suggest",
    "unescaped",
    "unflatten",
]
