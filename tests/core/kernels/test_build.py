"""A C file is compiled once for this user, by whoever comes first, and never loaded from where others could have put it."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from taskvec.kernels import build

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="compiled for POSIX systems only")
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, build.COMPILERS)) and "CC" not in os.environ, reason="there is no C compiler here"
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "taskvec" / "native"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "answer.c"
    path.write_text("int answer(void) { return ANSWER; }\n")
    return path


def answer(source: Path, *flags: str) -> int | None:
    library = build.load(source, flags)
    return int(library.answer()) if library else None


@needs_compiler
def test_compiled_once_for_each_source_and_flags(cache: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[list[str]] = []
    run = subprocess.run

    def counted(command: list[str], **options: object) -> object:
        runs.append(command)
        return run(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", counted)
    assert [answer(source, "-DANSWER=42") for _ in range(3)] == [42] * 3
    assert sum("-shared" in command for command in runs) == 1
    assert answer(source, "-DANSWER=43") == 43
    source.write_text("int answer(void) { return ANSWER + 1; }\n")
    assert answer(source, "-DANSWER=42") == 43
    assert sum("-shared" in command for command in runs) == 3
    assert [path.suffix for path in cache.iterdir()] == [".so"] * 3
    assert [path.stat().st_mode & 0o777 for path in (cache, *cache.iterdir())] == [0o700] + [0o600] * 3


@needs_compiler
def test_another_version_of_the_compiler_compiles_anew(
    cache: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = build.compiler()[0]
    for version in (1, 2):
        wrapper = tmp_path / "my cc"
        wrapper.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo {version} || exec {real} "$@"\n')
        wrapper.chmod(0o755)
        monkeypatch.setenv("CC", f"'{wrapper}'")
        assert answer(source, "-DANSWER=42") == 42
    assert len(list(cache.iterdir())) == 2


@needs_compiler
def test_arguments_of_cc_count(cache: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", f"{build.compiler()[0]} -DANSWER=7")
    assert answer(source) == 7


def no_compiler(patch: pytest.MonkeyPatch, cache: Path) -> str:
    patch.setenv("PATH", str(cache))
    patch.delenv("CC", raising=False)
    return "no C compiler"


def a_broken_compiler(patch: pytest.MonkeyPatch, cache: Path) -> str:
    patch.setenv("CC", "false")
    return "exit status 1"


def a_compiler_that_hangs(patch: pytest.MonkeyPatch, cache: Path) -> str:
    patch.setenv("CC", "sh -c 'sleep 9'")
    patch.setattr(build, "COMPILE_TIMEOUT_SECONDS", 0.05)
    return "timed out"


def a_cache_that_cannot_be_made(patch: pytest.MonkeyPatch, cache: Path) -> str:
    cache.parents[1].write_text("a file where the folder should be")
    return str(cache)


def a_cache_others_can_read(patch: pytest.MonkeyPatch, cache: Path) -> str:
    cache.mkdir(parents=True)
    cache.chmod(0o755)
    return f"chmod go= {cache}"


def a_cache_of_another_user(patch: pytest.MonkeyPatch, cache: Path) -> str:
    patch.setattr(os, "getuid", lambda: 12345)
    return "of this user alone"


def a_cache_that_is_a_link(patch: pytest.MonkeyPatch, cache: Path) -> str:
    (cache.parents[2] / "elsewhere").mkdir(mode=0o700)
    cache.parent.mkdir(parents=True)
    cache.symlink_to(cache.parents[2] / "elsewhere")
    return "of this user alone"


def no_home(patch: pytest.MonkeyPatch, cache: Path) -> str:
    patch.delenv("XDG_CACHE_HOME")

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    patch.setattr(Path, "home", home)
    return "home directory"


FLAWS = [
    no_compiler, a_broken_compiler, a_compiler_that_hangs, a_cache_that_cannot_be_made, a_cache_others_can_read,
    a_cache_of_another_user, a_cache_that_is_a_link, no_home,
]  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("flaw", FLAWS)
def test_without_a_compiler_or_a_private_cache_nothing_is_loaded(
    flaw: Callable[[pytest.MonkeyPatch, Path], str],
    cache: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    reason = flaw(monkeypatch, cache)
    with caplog.at_level(logging.INFO, "taskvec"):
        assert answer(source, "-DANSWER=42") is None
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert reason in caplog.text
    assert "answer.c" in caplog.text


@needs_compiler
def test_what_does_not_compile_is_logged_and_leaves_nothing(cache: Path, source: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "taskvec"):
        assert answer(source) is None
    assert "ANSWER" in caplog.text
    assert list(cache.iterdir()) == []


@needs_compiler
@pytest.mark.parametrize("how", ["writable", "link", "no library"])
def test_a_file_that_is_not_ours_is_not_loaded(cache: Path, source: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    path = build.compile_library(source, ["-DANSWER=42"])
    if how == "writable":
        path.chmod(0o666)
    elif how == "link":
        path.rename(path.with_suffix(".moved"))
        path.symlink_to(path.with_suffix(".moved"))
    else:
        path.write_bytes(b"cut short")
    with caplog.at_level(logging.INFO, "taskvec"):
        assert answer(source, "-DANSWER=42") is None
    assert path.name in caplog.text


@needs_compiler
def test_processes_may_race(cache: Path, source: Path) -> None:
    load = f"build.load(pathlib.Path({str(source)!r}), ['-DANSWER=42'])"
    code = f"import pathlib; from taskvec.kernels import build; print({load}.answer())"
    environment = os.environ | {"PYTHONPATH": str(Path(build.__file__).parents[2])}
    children = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) for _ in range(6)]
    assert [child.communicate()[0] for child in children] == [b"42\n"] * 6
    assert [path.suffix for path in cache.iterdir()] == [".so"]
