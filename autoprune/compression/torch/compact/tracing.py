"""Asks Torch-Pruning's DependencyGraph which single channels depend on each other: connected ones are a unit.

Nothing outside this file knows Torch-Pruning. What it does not know, or sees otherwise than torch, it is told by rules.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
import torch_pruning
from torch import nn
from torch_pruning.pruner.function import BasePruningFunc, PrunerBox

from autoprune.compression.core.errors import CompressionError, shown
from autoprune.compression.torch.compact.framing import Framed, Input, traceable
from autoprune.compression.torch.compact.graph import Graph, Node, Units, components
from autoprune.compression.torch.compact.kinds import Side, axes_of
from autoprune.compression.torch.feeding import call
from autoprune.compression.torch.layers import holders
from autoprune.compression.torch.nested import each_tensor, tensors

_Key: TypeAlias = tuple[int, Side]
_COMPARING = re.compile(r"(Amax|Amin|Max|Min|Sort|Topk|Median|Kthvalue|Cummax|Cummin)Backward\d$")
_PARTED = (torch_pruning.ops._SplitOp, torch_pruning.ops._UnbindOp)


def traced(model: nn.Module, example_input: Any) -> Graph:
    """Run a model once on an example, without a trace in it, and say which of its channels go together."""
    if next(tensors(example_input), None) is None:
        raise CompressionError(
            f"given {shown(example_input)} as the example input; expected a tensor, a tuple of arguments or a dict of "
            "keyword arguments, such as a batch of data"
        )
    names = {id(module): name for name, module in model.named_modules()}
    dependencies = _dependencies(model, example_input)
    nodes = list(dependencies.module2node.values())
    comparing = {id(node) for node in nodes if _compares_channels(node.grad_fn)}
    for node in nodes:
        _let_go_of_activations(node)
    numbers = {id(node): number for number, node in enumerate(nodes)}
    found = _Elements(dependencies, nodes, numbers)
    found.tie(model)
    units = found.components()
    named = {**names, **{id(parameter): name for name, parameter in model.named_parameters()}}
    return Graph(
        int(units.max(initial=-1)) + 1,
        tuple(
            Node(
                named.get(id(node.module)) if found.sized(numbers[id(node)]) else None,
                _operation(node),
                tuple(dict.fromkeys(numbers[id(each)] for each in node.inputs)),
                found.sides(numbers[id(node)], units),
                node.pruning_dim % node.module.dim() if isinstance(node.module, nn.Parameter) else None,
                _equal_parts(node),
                id(node) in comparing,
            )
            for node in nodes
        ),
        {
            int(units[element]): f"its channels can not be followed on their way to or from {where or 'an operation'}"
            for element, where in found.outside(names).items()
        },
    )


class _InputRule(BasePruningFunc):  # type: ignore[misc]
    def prune_out_channels(self, layer: nn.Module, idxs: Sequence[int]) -> None: ...

    def prune_in_channels(self, layer: nn.Module, idxs: Sequence[int]) -> None: ...

    def get_out_channels(self, layer: Input) -> int | None:
        return layer.channels

    def get_in_channels(self, layer: Input) -> int | None:
        return None


class _RecurrentRule(_InputRule):
    def get_out_channels(self, layer: Any) -> int:
        size: int = getattr(layer, "proj_size", 0) or layer.hidden_size
        return size * (2 if layer.bidirectional else 1)

    def get_in_channels(self, layer: Any) -> int:
        size: int = layer.input_size
        return size


class _Dependencies(torch_pruning.DependencyGraph):  # type: ignore[misc]
    """Without a guess at which dimension of an output has the channels, and with parts in their order."""

    def _build_dependency(self, module2node: Mapping[Any, Any]) -> None:
        for module, node in module2node.items():
            if isinstance(module, torch_pruning.ops._OutputOp):
                module.shape = None
            elif isinstance(module, _PARTED):
                node.outputs.sort(key=partial(_part, node))
        super()._build_dependency(module2node)


def _check_that_it_runs(model: nn.Module, example_input: Any) -> None:
    """By itself, before Torch-Pruning is blamed."""
    try:
        with traceable(model):
            call(model.eval(), each_tensor(example_input, torch.clone))
    except Exception as error:
        raise CompressionError(
            f"given a model that does not run on the example input ({type(error).__name__}: {error}); "
            "expected one of the shape, type and device that it takes"
        ) from error


def _part(cutting: Any, node: Any) -> int:
    """Which part of what it cuts a node gets."""
    return next((number for function, number in node.grad_fn.next_functions if function is cutting.grad_fn), 0)


def _rules(model: nn.Module) -> dict[type[nn.Module], BasePruningFunc]:
    """What Torch-Pruning is told of layers that it does not know, or sees otherwise than torch."""
    optypes = torch_pruning.ops.OPTYPE
    rules: dict[type[nn.Module], BasePruningFunc] = {Input: _InputRule()}
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            rules[type(module)] = _RecurrentRule()
        elif isinstance(module, nn.RMSNorm):
            rules[type(module)] = PrunerBox[optypes.LN]
        elif isinstance(module, nn.EmbeddingBag):
            rules[type(module)] = PrunerBox[optypes.EMBED]
    return rules


def _dependencies(model: nn.Module, example_input: Any) -> Any:
    framed = Framed(model)
    framed.inputs.extend(Input() for _ in range(len(list(tensors(example_input)))))
    graph = _Dependencies()
    try:
        with traceable(model):
            return graph.build_dependency(
                framed, example_input, forward_fn=call, customized_pruners=_rules(framed), verbose=False
            )
    except CompressionError:
        raise
    except Exception as error:
        _check_that_it_runs(model, example_input)
        raise CompressionError(
            f"given a model that Torch-Pruning cannot trace on this example input ({type(error).__name__}: {error}); "
            "expected an example input that the model runs on, and a model that autograd can follow"
        ) from error


class _Elements:
    """Single channels of the sides of nodes, and which of them depend on each other."""

    def __init__(self, graph: Any, nodes: Sequence[Any], numbers: Mapping[int, int]) -> None:
        self._rules = [graph.get_pruner_of_module(node.module) for node in nodes]
        self._nodes = nodes
        self._numbers = numbers
        self._ids: dict[tuple[_Key, int], int] = {}
        self._sizes: dict[_Key, int] = {}
        self._edges: list[tuple[int, int]] = []
        self._lost: list[tuple[_Key, int]] = []
        self._queue: deque[tuple[_Key, list[int]]] = deque()
        for number, node in enumerate(nodes):
            self._begin(number, node, graph)
        self._most = max(self._sizes.values(), default=0)
        while self._queue:
            self._follow(*self._queue.popleft())

    def tie(self, model: nn.Module) -> None:
        """A parameter that several layers share loses the same channels in all of them."""
        first: dict[tuple[int, int, int], int] = {}
        by_module = {id(node.module): number for number, node in enumerate(self._nodes)}
        for parameter, users in holders(model).items():
            for module, name in users if len(users) > 1 else ():
                number = by_module.get(id(module))
                for side, size in self._own_sides(number):
                    for axis in axes_of(module, side):
                        if axis.name != name or number is None:
                            continue
                        for index in range(size):
                            element = self._element((number, side), index)
                            key = (parameter, axis.dimension, index)
                            self._edges.append((first.setdefault(key, element), element))

    def components(self) -> Units:
        """The unit of each element."""
        return components(self._edges, len(self._ids))

    def sides(self, number: int, units: Units) -> dict[Side, Units]:
        """The units of the channels of a node, in their order."""
        found: dict[Side, Units] = {}
        module = self._nodes[number].module
        if isinstance(module, Input) and not module.has_channels:
            return found
        for side in ("in", "out", "both"):
            key: _Key = (number, side)
            if key in self._sizes:
                found[side] = units[[self._ids[key, index] for index in range(self._sizes[key])]]
            elif own := self._of_operations.get(key):
                found[side] = units[[element for _, element in sorted(own.items())]]
        return found

    def sized(self, number: int) -> bool:
        """Whether it has channels of its own: a PReLU of a single slope has none."""
        return any(at == number for at, _ in self._sizes)

    def outside(self, names: Mapping[int, str]) -> dict[int, str]:
        """Elements beyond the channels that a layer has, and those that Torch-Pruning lost, with the layer."""
        beyond = [each for each in self._ids if each[1] >= self._sizes.get(each[0], each[1] + 1)]
        return {self._ids[each]: names.get(id(self._nodes[each[0][0]].module), "") for each in (*beyond, *self._lost)}

    @property
    def _of_operations(self) -> dict[_Key, dict[tuple[_Key, int], int]]:
        if not hasattr(self, "_grouped"):
            self._grouped: dict[_Key, dict[tuple[_Key, int], int]] = {}
            for (key, index), element in self._ids.items():
                if key not in self._sizes:
                    self._grouped.setdefault(key, {})[key, index] = element
        return self._grouped

    def _own_sides(self, number: int | None) -> list[tuple[Side, int]]:
        return [(side, size) for (at, side), size in self._sizes.items() if at == number]

    def _begin(self, number: int, node: Any, graph: Any) -> None:
        rule = self._rules[number]
        for side, channels in self._channels(rule, node, graph).items():
            self._sizes[number, side] = channels
            self._reach((number, side), list(range(channels)))

    @staticmethod
    def _channels(rule: Any, node: Any, graph: Any) -> dict[Side, int]:
        whole = rule.prune_out_channels == rule.prune_in_channels
        sides: dict[Side, Callable[[Any], int | None]] = (
            {"both": graph.get_out_channels} if whole else {"out": graph.get_out_channels, "in": graph.get_in_channels}
        )
        given = {side: count(node) for side, count in sides.items()}
        return {side: count for side, count in given.items() if count is not None}

    def _side(self, number: int, function: Any) -> Side:
        rule = self._rules[number]
        if rule.prune_out_channels == rule.prune_in_channels:
            return "both"
        return "out" if function == rule.prune_out_channels else "in"

    def _reach(self, key: _Key, indices: Sequence[int]) -> None:
        new = [index for index in indices if (key, index) not in self._ids]
        for index in new:
            self._element(key, index)
        if new:
            self._queue.append((key, new))

    def _element(self, key: _Key, index: int) -> int:
        return self._ids.setdefault((key, index), len(self._ids))

    def _follow(self, key: _Key, indices: list[int]) -> None:
        number = key[0]
        for dependency in self._nodes[number].dependencies:
            if self._side(number, dependency.trigger) != key[1]:
                continue
            target = self._numbers[id(dependency.target)]
            other: _Key = (target, self._side(target, dependency.handler))
            try:
                pairs = _mapped(dependency, indices)
            except (IndexError, ZeroDivisionError):
                self._lost += [(key, index) for index in indices]
                continue
            if any(there >= self._most for _, there in pairs):
                self._lost += [(key, here) for here, there in pairs if there >= self._most]
                pairs = [(here, there) for here, there in pairs if there < self._most]
            self._reach(other, [there for _, there in pairs])
            self._edges += [(self._ids[key, here], self._ids[other, there]) for here, there in pairs]


def _mapped(dependency: Any, indices: Sequence[int]) -> list[tuple[int, int]]:
    """Where the channels of one end of a dependency are at the other."""
    if not any(dependency.index_mapping):
        return [(index, index) for index in indices]
    hybrid = torch_pruning._helpers._HybridIndex
    given = [hybrid(idx=index, root_idx=index) for index in indices]
    for mapping in dependency.index_mapping:
        if mapping is not None:
            given = mapping(given)
    return [(each.root_idx, each.idx) for each in given if each.root_idx is not None]


def _compares_channels(function: Any) -> bool:
    """Whether it takes the greatest of all channels, or the like: which zeros change for some inputs only."""
    name = function.name() if hasattr(function, "name") else ""
    if not _COMPARING.match(name):
        return False
    if not hasattr(function, "_saved_dim"):
        return True
    shape = function._saved_self.shape if hasattr(function, "_saved_self") else function._saved_self_sym_sizes
    given = function._saved_dim if isinstance(function._saved_dim, tuple) else (function._saved_dim,)
    dimensions = [each - 2**64 if each >= 2**63 else each for each in given]
    return len(shape) in (2, 4, 5) and any(each in (1, 1 - len(shape)) for each in dimensions)


def _equal_parts(node: Any) -> int:
    """Into how many parts of one size channels are cut; 1 where they are not."""
    offsets = node.module.offsets if isinstance(node.module, torch_pruning.ops._SplitOp) else None
    sizes = np.diff(offsets or [])
    return len(sizes) if len(sizes) and len(set(sizes.tolist())) == 1 else 1


def _let_go_of_activations(node: Any) -> None:
    """Autograd keeps what a run computed for as long as a node of it is held, and nodes hold each other."""
    node.grad_fn = None
    if isinstance(node.module, torch_pruning.ops._SliceOp):
        node.module.grad_fn = None


def _operation(node: Any) -> str:
    if isinstance(node.module, torch_pruning.ops._ElementWiseOp):
        return str(node.module._grad_fn)
    return type(node.module).__name__
