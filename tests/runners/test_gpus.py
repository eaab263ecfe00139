"""GPUs are found as the driver tells them, limited as the user says, and given out so that each trial gets its own."""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections import Counter

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.errors import AutopruneError
from autoprune.runners import _gpus
from autoprune.runners._gpus import Driver, Gpu, Gpus, place, room, visible
from autoprune.runners.base import Options

from .conftest import Device, FakeNvml, Machine

A, B, C = Gpu(0, "GPU-aa1"), Gpu(1, "GPU-ab2"), Gpu(2, "GPU-c3")
NONE_HELD: Counter[Gpu] = Counter()


def nobody(pid: int) -> bool:
    return False


@pytest.fixture(autouse=True)
def readings_are_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gpus, "_READING_SECONDS", 0.0)


@functools.cache
def most_trials(free: tuple[int, ...], count: int) -> int:
    """By trying every way to place them."""
    fits = 0
    for chosen in itertools.combinations([index for index, places in enumerate(free) if places], count):
        left = tuple(sorted(places - (index in chosen) for index, places in enumerate(free)))
        fits = max(fits, 1 + most_trials(left, count))
    return fits


@given(st.lists(st.integers(0, 3), max_size=4), st.integers(1, 4))
def test_room_is_the_most_that_fits(free: list[int], count: int) -> None:
    assert room(free, count) == most_trials(tuple(sorted(free)), count)


@given(st.integers(0, 12), st.integers(1, 6), st.integers(1, 12))
def test_empty_gpus_have_all_their_places_to_give(devices: int, trials_per_gpu: int, count: int) -> None:
    expected = devices * trials_per_gpu // count if devices >= count else 0
    assert room([trials_per_gpu] * devices, count) == expected


@given(st.integers(1, 8), st.integers(1, 4), st.integers(1, 4), st.lists(st.integers(0, 99), max_size=60))
def test_what_has_room_gets_its_gpus(devices: int, trials_per_gpu: int, count: int, steps: list[int]) -> None:
    """Trials start and end in any order: a trial that fits gets as many GPUs as it asked for, none twice, and no GPU
    gets more trials than it may; a trial that does not fit is refused."""
    gpus = [Gpu(index, f"GPU-{index}") for index in range(devices)]
    running: list[tuple[Gpu, ...]] = []
    for step in steps:
        held = Counter(gpu for given in running for gpu in given)
        fitting = room([trials_per_gpu - held[gpu] for gpu in gpus], count)
        if running and step % 3 == 0:
            running.pop(step % len(running))
        elif fitting:
            least = sorted(held[gpu] for gpu in gpus)[:count]
            running.append(place(gpus, held, trials_per_gpu, count))
            assert len(set(running[-1])) == count
            assert sorted(held[gpu] for gpu in running[-1]) == least
            held.update(running[-1])
            assert max(held.values()) <= trials_per_gpu
            assert room([trials_per_gpu - held[gpu] for gpu in gpus], count) == fitting - 1
        else:
            with pytest.raises(AutopruneError, match=f"needs {count} GPUs"):
                place(gpus, held, trials_per_gpu, count)


@pytest.mark.parametrize(
    ("setting", "left"),
    [
        (None, (A, B, C)),
        ("", ()),
        ("-1", ()),
        ("2,0", (A, C)),
        (" 1 ", (B,)),
        ("GPU-c3", (C,)),
        ("GPU-a", (A, B)),
        ("0,7,1", (A,)),
        ("1,GPU-c", (B, C)),
    ],
)
def test_cuda_visible_devices_limits(setting: str | None, left: tuple[Gpu, ...]) -> None:
    assert visible((A, B, C), setting) == left


def test_the_drivers_gpus(machine: Machine) -> None:
    nvml = machine("x", "y")
    driver = Driver()
    assert driver.gpus() == (Gpu(0, "GPU-x"), Gpu(1, "GPU-y"))
    opened = nvml.is_open
    driver.close()
    driver.close()
    assert (opened, nvml.is_open) == (True, False)


@pytest.mark.parametrize(
    "error", [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED, pynvml.NVML_ERROR_NO_PERMISSION]
)
def test_no_driver_is_no_gpus(machine: Machine, error: int) -> None:
    machine("x", error=error)
    driver = Driver()
    assert driver.gpus() == ()
    assert driver.processes(A) == []
    driver.close()


def test_a_lost_gpu_is_left_out_and_said(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine(Device("GPU-x", error=pynvml.NVML_ERROR_GPU_IS_LOST), "y")
    assert Driver().gpus() == (Gpu(1, "GPU-y"),)
    assert caplog.messages == ["GPU 0 is left out: GPU is lost"]


def test_instances_stand_for_a_partitioned_gpu(machine: Machine) -> None:
    machine("x", Device("GPU-y", instances={0: Device("MIG-1"), 3: Device("MIG-2")}))
    one, two, whole = Gpu(1, "MIG-1"), Gpu(1, "MIG-2"), Gpu(0, "GPU-x")
    assert Driver().gpus() == (whole, one, two)
    gpus = Gpus(Options())
    assert gpus.room(1, NONE_HELD, nobody) == 3
    assert gpus.room(2, NONE_HELD, nobody) == 0
    assert (gpus.check(2) or "").endswith("this machine has 3 GPUs; CUDA cannot use two MIG instances together")
    assert Gpus(Options(gpu_indices=(1,))).room(1, NONE_HELD, nobody) == 2


@pytest.mark.parametrize(
    ("indices", "setting", "count", "sentence"),
    [
        (None, None, 2, None),
        (None, None, 3, "trialGpuNumber is 3, and this machine has 2 GPUs"),
        (
            None,
            "1",
            2,
            "trialGpuNumber is 2, and this machine has 2 GPUs, of which CUDA_VISIBLE_DEVICES=1 leaves GPU 1",
        ),
        (None, "", 1, "trialGpuNumber is 1, and this machine has 2 GPUs, of which CUDA_VISIBLE_DEVICES= leaves none"),
        ((1,), None, 1, None),
        ((1,), None, 2, "trialGpuNumber is 2, and this machine has 2 GPUs, and gpuIndices allows GPU 1"),
        ((), None, 1, "trialGpuNumber is 1, and this machine has 2 GPUs, and gpuIndices allows none"),
        ((0, 4), None, 1, "gpuIndices names GPU 4, and this machine has GPUs 0 and 1"),
        (
            (0,),
            "1",
            1,
            "gpuIndices names GPU 0, and this machine has GPUs 0 and 1, of which CUDA_VISIBLE_DEVICES=1 leaves GPU 1",
        ),
        ((7,), "", 0, None),
    ],
)
def test_what_cannot_be_had_is_said(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    indices: tuple[int, ...] | None,
    setting: str | None,
    count: int,
    sentence: str | None,
) -> None:
    machine("x", "y")
    if setting is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    assert Gpus(Options(gpu_indices=indices)).check(count) == sentence


@pytest.mark.parametrize("indices", [None, (0,)])
def test_a_machine_without_gpus_has_one_sentence(machine: Machine, indices: tuple[int, ...] | None) -> None:
    machine()
    assert Gpus(Options(gpu_indices=indices)).check(1) == "trialGpuNumber is 1, and this machine has no GPU"


def test_other_programs_gpus_are_left_alone(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    nvml = machine("x", "y")
    gpus = Gpus(Options())
    nvml.devices[0].pids = [os.getpid()]
    assert gpus.room(1, NONE_HELD, nobody) == 1
    assert gpus.take(1, NONE_HELD) == (Gpu(1, "GPU-y"),)
    assert gpus.room(1, NONE_HELD, lambda pid: pid == os.getpid()) == 2
    assert caplog.messages == []


def test_trials_wait_for_a_busy_gpu_and_say_so_once(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    nvml = machine("x", "y")
    gpus = Gpus(Options())
    for device in nvml.devices:
        device.pids = [os.getpid()]
    with caplog.at_level(logging.WARNING):
        assert [gpus.room(1, NONE_HELD, nobody) for _ in range(3)] == [0, 0, 0]
    waiting = "trials wait for GPUs 0 and 1, on which other programs run; useActiveGpu: true would not wait"
    assert caplog.messages == [waiting]
    nvml.devices[1].pids = []
    assert gpus.room(1, NONE_HELD, nobody) == 1
    assert gpus.take(1, NONE_HELD) == (Gpu(1, "GPU-y"),)


def test_active_gpus_may_be_used(machine: Machine) -> None:
    nvml = machine(Device("GPU-x", pids=[os.getpid()]))
    assert Gpus(Options(use_active_gpu=True)).room(1, NONE_HELD, nobody) == 1
    assert nvml.asked == 0


def test_the_driver_is_not_asked_in_vain(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither when every GPU has its trials, nor again right after it was."""
    monkeypatch.setattr(_gpus, "_READING_SECONDS", 1000.0)
    nvml = machine("x")
    gpus = Gpus(Options())
    assert gpus.room(1, Counter({Gpu(0, "GPU-x"): 1}), nobody) == 0
    assert nvml.asked == 0
    assert [gpus.room(1, NONE_HELD, nobody) for _ in range(3)] == [1, 1, 1]
    assert nvml.asked == 1


@pytest.mark.parametrize(("held", "places"), [(0, 0), (1, 1)])
def test_in_a_container_unknown_processes_on_our_gpu_are_ours(machine: Machine, held: int, places: int) -> None:
    nowhere = 2**22 + 1
    machine(Device("GPU-x", pids=[nowhere]))
    assert Gpus(Options(trials_per_gpu=2)).room(1, Counter({Gpu(0, "GPU-x"): held}), nobody) == places


def test_a_driver_that_does_not_tell_does_not_block(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: FakeNvml, device: Device) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)

    monkeypatch.setattr(FakeNvml, "processes", refuse)
    machine("x")
    assert Gpus(Options()).room(1, NONE_HELD, nobody) == 1
