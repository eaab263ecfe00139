"""How long a forward takes on this device, and how much memory at its peak. Nothing here is estimated."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._C._autograd import _profiler_enabled as profiler_enabled
from torch.autograd.profiler import profile
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.cost import Latency
from autoprune.compression.torch.feeding import call
from autoprune.compression.torch.measuring.calm import calmest
from autoprune.compression.torch.measuring.counting import tensors_of
from autoprune.compression.torch.nested import batch_size, each_tensor, resized, tensors
from autoprune.compression.torch.untouched import random_state_kept, undisturbed

_QUIET = "KINETO_LOG_LEVEL"


def latency(model: nn.Module, example_input: Any, size: int, warmup: int, repeats: int) -> Latency:
    """The times of `repeats` forwards in eval and inference mode after `warmup` others, and the memory of one more.
    Where other programs have the processors, it is timed again."""
    device = _device(model)
    inputs = inputs_for(model, example_input, size)
    times, grown = (_cuda_times, _cuda_growth) if device.type == "cuda" else (_cpu_times, _cpu_growth)

    def run() -> None:
        call(model, inputs)

    with random_state_kept(), undisturbed(model), torch.inference_mode():
        model.eval()
        for _ in range(warmup):
            run()
        taken, waited = calmest(lambda: times(run, repeats, device))
        peak = bytes_of([*tensors_of(model), *tensors(inputs)]) + grown(run, device)
    median, p95 = (float(np.quantile(taken, part)) for part in (0.5, 0.95))
    return Latency(size, median, p95, repeats, torch.get_num_threads(), _name(device), peak, waited)


def in_turn(models: Sequence[nn.Module], example_input: Any, size: int, repeats: int) -> list[list[float]]:
    """The times of so many forwards of each model, one of each after another: what slows the machine down meanwhile
    slows all of them down."""
    runs = []
    with random_state_kept(), ExitStack() as held:
        for model in models:
            held.enter_context(undisturbed(model))
            model.eval()
            runs.append((partial(call, model, inputs_for(model, example_input, size)), _device(model)))
        held.enter_context(torch.inference_mode())
        rounds = [
            [(_cuda_times if device.type == "cuda" else _cpu_times)(run, 1, device)[0] for run, device in runs]
            for _ in range(repeats)
        ]
    return [list(taken) for taken in zip(*rounds, strict=True)]


def inputs_for(model: nn.Module, example_input: Any, size: int) -> Any:
    """The example in a batch of this size, on the device of the model."""
    device = _device(model)
    return each_tensor(resized(example_input, _batch(example_input), size), lambda tensor: tensor.to(device))


def _batch(example_input: Any) -> int:
    if batch := batch_size(example_input):
        return batch
    given = "an empty batch" if any(each.dim() for each in tensors(example_input)) else "no tensor with a dimension"
    raise CompressionError(f"measure.example_input: given {given}; expected a batch of at least one")


def bytes_of(held: list[Tensor]) -> int:
    """What these hold in memory; what they share counts once."""
    found: dict[int, int] = {}
    for tensor in held:
        for piece in _pieces(tensor):
            storage = piece.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def _pieces(tensor: Tensor) -> Iterator[Tensor]:
    """The plain tensors that one is made of."""
    made_of: Any = tensor
    if is_traceable_wrapper_subclass(made_of):
        for name in made_of.__tensor_flatten__()[0]:
            yield from _pieces(getattr(made_of, name))
    else:
        yield tensor


def _device(model: nn.Module) -> torch.device:
    devices = {each.device for each in tensors_of(model)} or {torch.device("cpu")}
    if len(devices) > 1 or next(iter(devices)).type not in ("cpu", "cuda"):
        given = " and ".join(sorted(map(str, devices)))
        raise CompressionError(
            f"measure: given a model on {given}; expected one on the CPU or on one CUDA device, to time it there "
            "(latency=False leaves time and memory out)"
        )
    return next(iter(devices))


def _cpu_times(run: Callable[[], None], repeats: int, _: torch.device) -> list[float]:
    taken = []
    for _repeat in range(repeats):
        start = perf_counter()
        run()
        taken.append((perf_counter() - start) * 1000)
    return taken


def _cuda_times(run: Callable[[], None], repeats: int, device: torch.device) -> list[float]:
    """From an idle device to an idle device, so that launching kernels counts too."""
    taken = []
    event: Any = torch.cuda.Event
    with torch.cuda.device(device):
        for _ in range(repeats):
            start, end = event(enable_timing=True), event(enable_timing=True)
            torch.cuda.synchronize(device)
            start.record()
            run()
            end.record()
            end.synchronize()
            taken.append(start.elapsed_time(end))
    return taken


def _cpu_growth(run: Callable[[], None], _: torch.device) -> int:
    """The most that torch's allocator had handed out at once during a forward, buffers inside kernels too."""
    if profiler_enabled():
        raise CompressionError(
            "measure: given a call under a torch profiler; expected one without, whose memory it can follow "
            "(latency=False leaves time and memory out)"
        )
    with _quiet(), profile(profile_memory=True) as profiled:
        run()
    assert profiled.kineto_results is not None
    events = [each for each in profiled.kineto_results.events() if each.name() == "[memory]"]
    events.sort(key=lambda each: each.start_ns())
    sizes: list[int] = [each.nbytes() for each in events]
    return max(accumulate(sizes, initial=0))


def _cuda_growth(run: Callable[[], None], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


@contextmanager
def _quiet() -> Iterator[None]:
    """torch's profiler announces itself on stderr, unless told otherwise before it starts for the first time."""
    if _QUIET in os.environ:
        yield
        return
    os.environ[_QUIET] = "6"
    try:
        yield
    finally:
        del os.environ[_QUIET]


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
