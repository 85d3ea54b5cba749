"""Opens a compiled C file if the machine has what it takes: the CPU's instructions, Linux, and the OpenMP of torch.

Knows processors and libraries, not what is computed. TASKVEC_NATIVE=0 turns every kernel off.
"""

import ctypes
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from taskvec.kernels import build

AMX_CAPABILITIES = ("amx_tile", "amx_bf16", "avx512_f", "avx512_bw", "avx512_dq", "avx512_vl", "avx512_bf16")
"""What a kernel with AMX needs, by the names of torch.cpu.get_capabilities."""
AMX_FLAGS = (
    "-O3", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512bf16", "-mamx-tile", "-mamx-bf16", "-mfma",
    "-mprefer-vector-width=512",
)  # fmt: skip
"""The compiler's flags for such a kernel."""
REQUEST_TILES = (158, 0x1023, 18)  # arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA on x86-64

log = logging.getLogger("taskvec")


class KernelLibrary(NamedTuple):
    """A compiled library, and GOMP_parallel, which starts the threads of torch's own OpenMP: a second OpenMP would fight it."""

    functions: ctypes.CDLL
    parallel: ctypes.c_void_p


def open_library(source: Path, capabilities: Sequence[str], flags: Sequence[str]) -> KernelLibrary | None:
    """Open the compiled `source`.

    Args:
        source: The C file.
        capabilities: What the CPU must have, by the names of torch.cpu.get_capabilities.
        flags: Passed to the compiler.

    Returns:
        The library, or None if the CPU, the system, the compiler or torch lacks what it needs.
    """
    has: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch lack it
    fits = sys.platform == "linux" and all(has.get(name) for name in capabilities)
    if not fits or os.environ.get("TASKVEC_NATIVE") == "0":
        return None
    library = build.load(source, flags)
    if library is None:
        return None
    try:
        # torch has loaded it, so its name is enough; the libraries that it depends on are searched, too.
        parallel = ctypes.cast(ctypes.CDLL("libtorch_cpu.so").GOMP_parallel, ctypes.c_void_p)
    except (AttributeError, OSError) as error:
        log.info("taskvec: torch does the work of %s, its OpenMP cannot be shared: %s", source.name, error)
        return None
    if not acquire_tiles():
        log.info("taskvec: torch does the work of %s, the system does not grant AMX", source.name)
        return None
    return KernelLibrary(library, parallel)


def acquire_tiles() -> bool:
    """Ask Linux for the tiles of AMX, for all threads of this process, and return whether it granted them.

    Source: https://docs.kernel.org/arch/x86/xstate.html
    """
    return not ctypes.CDLL(None).syscall(*REQUEST_TILES)
