"""What the precisions of vectors are called. Light to import, so that the command line's help can name them."""

from typing import Literal, get_args

Precision = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary", "base64"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
