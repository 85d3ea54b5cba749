"""An encoder in a process that is interrupted, forked or started anew."""

import copy
import pickle
from pathlib import Path

import numpy as np

from support.processes import HANG_SECONDS, run_python
from support.reference import assert_close
from taskvec import Encoder

INTERRUPTED = """
import os, signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored
from taskvec import Encoder
encoder = Encoder.from_pretrained({folder!r}, dtype="float32", device="cpu")
try:
    for index, vector in enumerate(encoder.encode_iter("a text of some words" for _ in iter(int, 1))):
        if index == 1000:
            threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
except KeyboardInterrupt:
    print("interrupted", len(encoder.encode("still works")))
"""


def test_keyboard_interrupt_leaves_nothing_hanging(short_folder: Path) -> None:
    assert run_python(INTERRUPTED.format(folder=str(short_folder))) == "interrupted 32\n"


FORKED_SCRIPT = """
import multiprocessing
from taskvec import Encoder

def use(_):
    return attempt(lambda: encoder.encode("a").shape)

def load(_):
    return attempt(lambda: Encoder.from_pretrained({folder!r}, dtype="float32").encode("a").shape)

def attempt(work):
    try:
        return work()
    except RuntimeError as error:
        return error.args[0]

if __name__ == "__main__":
    encoder = Encoder.from_pretrained({folder!r}, dtype="float32", device="cpu")
    encoder.encode("a")
    for method, function in (("fork", use), ("fork", load), ("spawn", load)):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.apply_async(function, [None]).get({seconds}))
"""


def test_a_fork_gets_an_error_instead_of_hanging(short_folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "forked.py"
    script.write_text(FORKED_SCRIPT.format(folder=str(short_folder), seconds=HANG_SECONDS // 3))
    used, loaded, spawned = run_python(script).splitlines()
    for message in (used, loaded):
        assert "was forked from" in message
        assert "'spawn'" in message
    assert spawned == "(32,)"


UNPICKLE = "import pickle, sys; e = pickle.loads(sys.stdin.buffer.read()); print(*e.encode('bread', dimensions=3).tolist())"


def test_pickles_carry_settings_and_no_secret(native: Path) -> None:
    encoder = Encoder.from_pretrained(native, dtype="float32", token="hf_secret")
    assert "hf_secret" not in repr(encoder) + repr(encoder.load_settings)
    data = pickle.dumps(encoder)
    assert b"hf_secret" not in data
    assert len(data) < 2000
    vector = np.array(run_python(UNPICKLE, data).split(), dtype=np.float32)
    assert_close(vector, encoder.encode("bread", dimensions=3))
    one, two = pickle.loads(data), pickle.loads(data)
    assert one is two
    assert copy.deepcopy(one) is one
