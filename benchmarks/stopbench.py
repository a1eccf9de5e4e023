"""StopBench: ten scenarios of a stop, against us and against what people use today.

    benchmarks/stopbench.py [--quick] [--json] [--runs N] [--cold-runs N]
                            [--systems A,B] [--scenarios A,B] [--page FILE]
                            [--keep FILE] [--kept FILE]

`--page` writes the page of docs/results/; `--keep` keeps every run in a file as it was taken, and
`--kept` takes no runs but those of such a file.

Its parts lie in benchmarks/stopbench/. It needs root and cgroups; peers' environments are made by
scripts/peers at the first run.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from stopbench.run import main  # noqa: E402 - the tests' own stage is on the path by now

if __name__ == "__main__":
    sys.exit(main())
