"""Compiles a C file once for this user and loads it. Knows compilers and the cache, not what is computed.

The package has no binaries: with a compiler a file is compiled in a second, without one the caller has another way.
"""

import ctypes
import hashlib
import logging
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

COMPILERS = ("cc", "gcc", "clang")
COMPILE_TIMEOUT_SECONDS = 60

log = logging.getLogger("taskvec")


def load(source: Path, flags: Sequence[str]) -> ctypes.CDLL | None:
    """The library of a C file, compiled now or before; None if that is impossible, with the reason in the log."""
    try:
        return ctypes.CDLL(str(compile_library(source, flags)))
    except subprocess.CalledProcessError as error:
        message = error.stderr.decode(errors="replace").strip() or error
        log.info("taskvec: %s cannot be compiled, torch does its work: %s", source.name, message)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        log.info("taskvec: %s cannot be used, torch does its work: %s", source.name, error)
    return None


def compile_library(source: Path, flags: Sequence[str]) -> Path:
    """Compile a C file, unless this user's cache has it from before.

    Args:
        source: The C file.
        flags: Passed to the compiler.

    Returns:
        The library in the cache.

    Raises:
        OSError: There is no compiler, or no cache of this user alone.
        subprocess.SubprocessError: The compiler fails or takes longer than COMPILE_TIMEOUT_SECONDS.
    """
    command = [*compiler(), *flags, "-shared", "-fPIC"]
    version = subprocess.run([*compiler(), "--version"], check=True, capture_output=True, timeout=COMPILE_TIMEOUT_SECONDS).stdout
    parts = (source.read_bytes(), shlex.join(command).encode(), version)
    key = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:32]
    library = cache_folder() / f"{source.stem}-{key}.so"
    if not library.exists():
        # Under a name of its own, then renamed: others who do the same see all of it or nothing.
        with tempfile.TemporaryDirectory(prefix="making-", dir=library.parent) as folder:
            new = Path(folder) / library.name
            arguments, start = [*command, "-o", str(new), str(source), "-lm"], time.perf_counter()
            subprocess.run(arguments, check=True, capture_output=True, timeout=COMPILE_TIMEOUT_SECONDS, stdin=subprocess.DEVNULL)
            log.info("taskvec: %s compiled in %.1f s, once: it is kept in %s", source.name, time.perf_counter() - start, library)
            new.chmod(0o600)
            new.replace(library)
    check_ours(library, stat.S_IFREG)
    return library


def compiler() -> list[str]:
    """The command of a C compiler, from $CC or a usual name; FileNotFoundError where there is none."""
    from_environment = shlex.split(os.environ.get("CC", ""))
    for command in ([from_environment] if from_environment else []) + [[name] for name in COMPILERS]:
        if found := shutil.which(command[0]):
            return [found, *command[1:]]
    raise FileNotFoundError(f"no C compiler: {', '.join(COMPILERS)} are not on the PATH and CC does not name one")


def cache_folder() -> Path:
    """A folder that only this user can read or write, made if it is missing; raises PermissionError if others can."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "taskvec" / "native"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_ours(folder, stat.S_IFDIR)
    return folder


def check_ours(path: Path, kind: int) -> None:
    """Raise PermissionError if loading from `path` could run what somebody else has put there."""
    found = path.lstat()
    if stat.S_IFMT(found.st_mode) != kind or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{path} is not a file or folder of this user alone: remove it, or run chmod go= {path}")
