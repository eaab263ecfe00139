"""GPUs on a machine without any (NVIDIA's library, played by a table of devices), and runners warm and cold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from .warm_bench import Bench
from .warm_scripts import BESIDE


@dataclass
class Device:
    """A GPU, or an instance of one that is partitioned; its handle is the object itself."""

    uuid: str
    pids: list[int] = field(default_factory=list)
    instances: Mapping[int, Device] | None = None
    error: int | None = None


@dataclass
class FakeNvml:
    """What pynvml's functions do; `error` is what all of them raise, as without a driver."""

    devices: list[Device]
    error: int | None = None
    is_open: bool = False
    asked: int = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        for name in ("Init", "Shutdown"):
            monkeypatch.setattr(pynvml, f"nvml{name}", getattr(self, name.lower()))
        functions: dict[str, Callable[..., Any]] = {
            "GetCount": lambda: len(self.devices),
            "GetHandleByIndex": self.by_index,
            "GetHandleByUUID": self.by_uuid,
            "GetUUID": lambda device: device.uuid,
            "GetMigMode": self.mig_mode,
            "GetMaxMigDeviceCount": lambda device: 7,
            "GetMigDeviceHandleByIndex": self.instance,
            "GetComputeRunningProcesses": self.processes,
        }
        for name, function in functions.items():
            monkeypatch.setattr(pynvml, f"nvmlDevice{name}", self.checked(function))

    def init(self) -> None:
        if self.error is not None:
            raise pynvml.NVMLError(self.error)
        self.is_open = True

    def shutdown(self) -> None:
        assert self.is_open
        self.is_open = False

    def checked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if not self.is_open:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
            return function(*arguments)

        return call

    def by_index(self, index: int) -> Device:
        return self.reached(self.devices[index])

    def by_uuid(self, uuid: str) -> Device:
        for device in self.devices:
            for candidate in (device, *(device.instances or {}).values()):
                if candidate.uuid == uuid:
                    return self.reached(candidate)
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def reached(self, device: Device) -> Device:
        if device.error is not None:
            raise pynvml.NVMLError(device.error)
        return device

    def mig_mode(self, device: Device) -> list[int]:
        if device.instances is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return [pynvml.NVML_DEVICE_MIG_ENABLE, pynvml.NVML_DEVICE_MIG_DISABLE]

    def instance(self, device: Device, position: int) -> Device:
        if position not in (device.instances or {}):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        assert device.instances is not None
        return device.instances[position]

    def processes(self, device: Device) -> list[SimpleNamespace]:
        self.asked += 1
        return [SimpleNamespace(pid=pid, usedGpuMemory=None) for pid in self.reached(device).pids]


Machine = Callable[..., FakeNvml]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Make this a machine with GPUs of these names (GPU-<name>), or with these devices."""

    def make(*devices: str | Device, error: int | None = None) -> FakeNvml:
        nvml = FakeNvml([Device(f"GPU-{each}") if isinstance(each, str) else each for each in devices], error)
        nvml.install(monkeypatch)
        return nvml

    return make


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine, a server gets the time to import what it should."""
    monkeypatch.setattr("autoprune.runners._warm.PATIENCE", 60.0)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    code = tmp_path_factory.mktemp("code")
    for name, text in BESIDE.items():
        (code / name).write_text(text)
    return code


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Bench]]:
    cold, warm = (Bench(tmp_path_factory.mktemp(name), warm=name == "warm") for name in ("cold", "warm"))
    yield cold, warm
    cold.runner.close()
    warm.runner.close()


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, warm=True)
    yield bench
    bench.runner.close()
