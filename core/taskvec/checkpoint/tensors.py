"""Reading parts of safetensors files. Knows file formats and ranges, nothing of models."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from taskvec.errors import CheckpointError


@dataclass(frozen=True)
class TensorFile:
    """One safetensors file: the shape of every tensor in it, and how it looked when it was opened."""

    path: Path
    shapes: dict[str, tuple[int, ...]]
    stamp: tuple[int, int]

    @classmethod
    def open(cls, path: Path) -> "TensorFile":
        """Read the header of `path`; raises CheckpointError if it is damaged."""
        path.open("rb").close()  # safe_open calls a file it may not read missing
        try:
            with safe_open(str(path), framework="pt") as file:
                shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise CheckpointError(
                f"{path} is damaged or incomplete ({error}); download it again (after git clone: git lfs pull)"
            ) from None
        return cls(path, shapes, _stamp(path))


@dataclass(frozen=True)
class TensorRef:
    """Where a tensor lies: a key of a file, optionally one entry of a stack and a range of its rows. Reads on demand.

    Every read maps the file anew and lets go of it afterwards, so no mapped page stays in the process.
    """

    file: TensorFile
    key: str
    shape: tuple[int, ...]
    stack_index: int | None = None
    first_row: int = 0
    transposed: bool = False

    def __str__(self) -> str:
        return f"{self.key} in {self.file.path}"

    def entry(self, index: int) -> "TensorRef":
        """Entry `index` of a tensor stacked along its first axis."""
        return replace(self, stack_index=index, shape=self.shape[1:])

    def thirds(self) -> tuple["TensorRef", "TensorRef", "TensorRef"]:
        """The upper, middle and lower third of the rows."""
        rows = self.shape[0] // 3
        first, second, third = (
            replace(self, first_row=self.first_row + i * rows, shape=(rows, *self.shape[1:])) for i in range(3)
        )
        return first, second, third

    def transpose(self) -> "TensorRef":
        """The same matrix with rows and columns exchanged."""
        return replace(self, transposed=not self.transposed, shape=self.shape[::-1])

    def read(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Rows `start` to `stop` (default: all) as a CPU tensor in the file's own dtype."""
        if _stamp(self.file.path) != self.file.stamp:
            raise RuntimeError(f"{self.file.path} changed on disk since it was loaded; load the encoder again")
        stop = self.shape[0] if stop is None else stop
        rows = slice(None) if self.transposed else slice(self.first_row + start, self.first_row + stop)
        with safe_open(str(self.file.path), framework="pt") as file:
            part = file.get_slice(self.key)
            tensor: Tensor = part[rows] if self.stack_index is None else part[self.stack_index, rows]
            if self.transposed:
                tensor = tensor.T[start:stop]
            return tensor.clone(memory_format=torch.contiguous_format)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
