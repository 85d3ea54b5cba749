"""Where things of the checkout lie."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
EXAMPLES = ROOT / "examples"
ANAPHORA = ROOT / "benchmarks" / "data" / "anaphora.json"
"""Documents whose chunks say "it", with questions."""
