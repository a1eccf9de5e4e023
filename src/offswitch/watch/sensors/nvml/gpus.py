"""What NVML says of the GPUs of this machine, through NVIDIA's own binding (`nvidia-ml-py`).

One call a figure; what a card or driver does not support is left out. Errors that the driver
reports as events (XID, among them a GPU that fell off the bus) are counted as they come. This runs
in the child only: nothing here is trusted to return.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from offswitch.watch.sensors.nvml.child import Look

__all__ = ["reader"]

_MOST_GPUS = 64
_MOST_PROCESSES = 1_000
_MOST_EVENTS = 64
_MILLI = 1_000


def reader() -> Look:
    """Load the library and give what looks; where there is none, what says so."""
    nvml: Any = importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        absent = {"absent": f"no NVIDIA driver answers: {error}"}
        return lambda: absent
    events = _Events(nvml)

    def look() -> dict[str, Any]:
        count = min(int(nvml.nvmlDeviceGetCount()), _MOST_GPUS)
        xids = events.since()
        return {"gpus": [{**_gpu(nvml, at), "xids": xids.get(at, [])} for at in range(count)]}

    return look


def _gpu(nvml: Any, at: int) -> dict[str, Any]:  # noqa: ANN401 - an untyped library
    card = nvml.nvmlDeviceGetHandleByIndex(at)
    said: dict[str, Any] = {"index": at, "uuid": str(_asked(nvml, nvml.nvmlDeviceGetUUID, card))}
    rates = _asked(nvml, nvml.nvmlDeviceGetUtilizationRates, card)
    memory = _asked(nvml, nvml.nvmlDeviceGetMemoryInfo, card)
    power = _asked(nvml, nvml.nvmlDeviceGetPowerUsage, card)
    said["utilization_percent"] = None if rates is None else float(rates.gpu)
    said["memory_used_bytes"] = None if memory is None else float(memory.used)
    said["memory_total_bytes"] = None if memory is None else float(memory.total)
    said["power_watts"] = None if power is None else power / _MILLI
    said["temperature_celsius"] = _asked(
        nvml, nvml.nvmlDeviceGetTemperature, card, nvml.NVML_TEMPERATURE_GPU
    )
    said["ecc_errors"] = _asked(
        nvml,
        nvml.nvmlDeviceGetTotalEccErrors,
        card,
        nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
        nvml.NVML_VOLATILE_ECC,
    )
    running = _asked(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, card)
    said["processes"] = (
        None
        if running is None
        else [[int(one.pid), int(one.usedGpuMemory or 0)] for one in running[:_MOST_PROCESSES]]
    )
    return said


def _asked(nvml: Any, ask: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 - likewise
    """Ask for one figure; None where this card or driver has none."""
    try:
        return ask(*args)
    except nvml.NVMLError:
        return None


class _Events:
    """The errors that a driver reports, by GPU."""

    def __init__(self, nvml: Any) -> None:  # noqa: ANN401 - likewise
        self._nvml = nvml
        self._set: Any = None
        self._index: dict[str, int] = {}
        try:
            self._set = nvml.nvmlEventSetCreate()
            for at in range(min(int(nvml.nvmlDeviceGetCount()), _MOST_GPUS)):
                card = nvml.nvmlDeviceGetHandleByIndex(at)
                self._index[str(nvml.nvmlDeviceGetUUID(card))] = at
                nvml.nvmlDeviceRegisterEvents(card, nvml.nvmlEventTypeXidCriticalError, self._set)
        except nvml.NVMLError:
            self._set = None  # this card reports none

    def since(self) -> dict[int, list[int]]:
        """Give the numbers of the errors since the last call."""
        found: dict[int, list[int]] = {}
        for _ in range(_MOST_EVENTS if self._set is not None else 0):
            try:
                event = self._nvml.nvmlEventSetWait_v2(self._set, 0)
                uuid = str(self._nvml.nvmlDeviceGetUUID(event.device))
            except self._nvml.NVMLError:
                break  # a timeout: there are no more
            found.setdefault(self._index.get(uuid, -1), []).append(int(event.eventData))
        return found
