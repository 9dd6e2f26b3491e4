"""What computes here: the device, its description in words, the versions a result may depend on."""

from __future__ import annotations

import platform

import torch


def device() -> torch.device:
    """Return the fastest torch device at hand: CUDA, then Apple's MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device may have instructions for bfloat16; where that cannot be told, a trial decides."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and platform.machine().lower() in ("x86_64", "amd64"):
        return torch.backends.cpu.get_cpu_capability().startswith("AVX512")  # those of AVX2 have none
    return True


def description() -> str:
    """Return what computes here, in words: a GPU's name, or the processor and the number of threads."""
    if torch.cuda.is_available():
        return f"GPU {torch.cuda.get_device_name()}"
    if device().type == "mps":
        return "Apple GPU (MPS)"
    threads = torch.get_num_threads()
    return f"CPU {platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    return {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]}


def versions_line() -> str:
    """Return `versions()` as words: "Python 3.11.7 · torch 2.14.1"."""
    found = versions()
    return f"Python {found['python']} · torch {found['torch']}"
