"""What a measurement ran on, in words that may be published: no paths, no host names."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import subprocess
import sys
from pathlib import Path

import torch

from aecore import machine

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "pytorch-lightning", "lightning-fabric", "accelerate")


def facts() -> dict:
    """Return the device's kind, its name, the processor with its vector instructions, and PyTorch's threads."""
    device = machine.device()
    threads = torch.get_num_threads()
    gpu = {"cuda": lambda: torch.cuda.get_device_name(), "mps": lambda: "Apple GPU"}.get(device.type)
    processor = f"{processor_name()}{_vectors()}, {threads} thread{'s' if threads > 1 else ''}"
    return {
        "device": device.type,
        "name": gpu() if gpu else processor,
        "processor": processor,
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
    }


def slug(facts: dict) -> str:
    """Return a short name for files: "cpu-2-threads", "nvidia-h200"."""
    if facts["device"] == "cpu":
        return f"cpu-{facts['threads']}-thread{'s' if facts['threads'] > 1 else ''}"
    return re.sub(r"[^a-z0-9]+", "-", facts["name"].lower()).strip("-")


def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that takes part, those that are missing left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor_name() -> str:
    """Return the processor's name as its maker gives it, or else its kind."""
    try:
        if sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
        return names[0].strip()
    except (OSError, IndexError, subprocess.CalledProcessError):
        return platform.processor() or platform.machine()


def _vectors() -> str:
    """Return the vector instructions that PyTorch uses here, where they differ between processors of one kind."""
    found = torch.backends.cpu.get_cpu_capability()
    return f" with {found}" if found.startswith("AVX") else ""


def peak_memory_mb() -> float | None:
    """Return the most memory that this process has held so far, in MB of 10⁶ bytes; None where it can't be known.

    Linux's ru_maxrss begins with what the parent held when it started the process, so that a small process of a large
    parent looks large; VmHWM begins with the process itself.
    """
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8"), re.M)):
        return int(found[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6
