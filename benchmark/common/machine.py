"""What a run measures and records of the machine: time, processor, precision of float32."""

import functools
import os
import platform
import time
from contextlib import suppress
from pathlib import Path


def now(device: str) -> float:
    """Return a time in seconds that counts from an arbitrary start, after the work given to a device has ended.

    An accelerator works while the program goes on, so without waiting a step would end before its work.

    Args:
        device: Device of the work, such as "cpu" or "cuda:1".
    """
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
    return time.perf_counter()


def device_name(device: str) -> str:
    """Return what a record says of a device: the model of a GPU, else its name."""
    if not device.startswith("cuda"):
        return device
    import torch

    return torch.cuda.get_device_name(device)


def cores() -> int:
    """Return how many cores this process may use, which in a container may be fewer than the machine has."""
    from joblib import cpu_count

    return int(cpu_count())


def memory_bytes(groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the bytes of memory that this process may use; None where the system does not tell.

    Args:
        groups: Folder of the control groups, by which Linux limits the memory of a container.
    """
    found: list[int] = []
    with suppress(ValueError, OSError, AttributeError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of version 2 and of version 1
        with suppress(ValueError, OSError):  # without a limit it says "max", or more than the machine has
            found.append(int((groups / name).read_text(encoding="ascii")))
    return min(found, default=None)


def require_exact_float32() -> None:
    """Make this process compute float32 in full precision.

    By default, torch lets convolutions of recent GPUs run in TF32, whose mantissa has 10 bits.
    """
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def float32_precision() -> str:
    """Return the precision of float32 that is in force in this process, for matrix products and for convolutions."""
    import torch

    try:
        products = torch.get_float32_matmul_precision()
        convolutions = "TF32" if torch.backends.cudnn.allow_tf32 else "highest"
    except RuntimeError:  # torch cannot say it if code has set it for single operations
        return "set for single operations"
    return f"matrix products {products}, convolutions {convolutions}"


def processor() -> str:
    """Return the model of the processor, the instructions that torch uses of it, and the number of torch's threads.

    Two records with the same text were computed by the same sequence of roundings: names such as "AMD EPYC" alone would
    not say that.
    """
    import torch

    threads = torch.get_num_threads()
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{_processor_model()}, {instructions}, {threads} thread{'s' * (threads > 1)}"


@functools.cache
def _processor_model() -> str:
    try:  # only Linux has the file
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return model_in(text) or platform.processor() or platform.machine()


def model_in(cpuinfo: str) -> str:
    """Return the name, family and model of the first processor in the text of `/proc/cpuinfo`; empty without a name."""
    known: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        known.setdefault(name.strip(), value.strip())
    numbers = [f"{name} {known[key]}" for key, name in (("cpu family", "family"), ("model", "model")) if key in known]
    name = known.get("model name", "")
    return f"{name} ({', '.join(numbers)})" if name and numbers else name
