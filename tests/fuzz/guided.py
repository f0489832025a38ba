"""``python -m tests.fuzz.guided``: atheris chooses the damage to a source, and keeps inputs that reach new branches."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any


class ByteRandom(Random):
    """A Random that reads its decisions from bytes; after the last byte it always takes the first choice."""

    def __init__(self, content: bytes) -> None:
        super().__init__(0)
        self._content, self._at = content, 0

    def getrandbits(self, k: int) -> int:
        """Return the next ``k`` bits."""
        size = (k + 7) // 8
        piece = self._content[self._at : self._at + size]
        self._at += size
        return int.from_bytes(piece.ljust(size, b"\0"), "little") & ((1 << k) - 1)

    def random(self) -> float:
        """Return the next 16 bits as a fraction of 1."""
        return self.getrandbits(16) / (1 << 16)

    def _randbelow(self, n: int) -> int:
        return self.getrandbits(n.bit_length() + 8) % n if n else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz one target for a while; return the exit status: 1 if a case failed."""
    asked = _parser().parse_args(arguments)
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed, use `python -m tests.fuzz` instead, or", file=sys.stderr)
        print("  pip install atheris   (it has wheels for Linux and Python 3.11)", file=sys.stderr)
        return 2
    import atheris

    with atheris.instrument_imports(include=["posetools"]):
        from tests.fuzz.case import run_case
        from tests.fuzz.samples import sample
    from tests.fuzz.campaign import keep_failure

    sample(asked.format)
    into = Path(asked.failures or tempfile.mkdtemp(prefix="posetools-fuzz-failures-"))
    folder = Path(tempfile.mkdtemp(prefix="posetools-fuzz-"))

    def one(content: bytes) -> None:
        outcome: Any = run_case(asked.format, ByteRandom(content), folder)
        if outcome.how == "failed":
            kept = keep_failure(asked.format, 0, abs(hash(content)), outcome.problem, outcome.damaged, into)
            raise AssertionError(f"{kept}\n{outcome.problem}")

    # libFuzzer ends the process itself, with its own exit status if a case failed.
    atheris.Setup([sys.argv[0], f"-max_total_time={asked.seconds}", "-max_len=4096", "-verbosity=0"], one)
    atheris.Fuzz()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("--format", required=True, help="as in `python -m tests.fuzz`")
    parser.add_argument("--seconds", type=int, default=60, help="for how long (default 60)")
    parser.add_argument("--failures", metavar="DIR", help="where a failure is written (default: a temporary folder)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
