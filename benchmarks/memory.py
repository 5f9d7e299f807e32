"""Peak memory of one process, by the number of rows; by hand, some minutes.

    python -m benchmarks.memory [--rows 20000 200000] [--in-flight 512]

Against nginx (the rehearsal judge where that is missing), without and with a token encoding. The last line is one JSON
object; `ratio` is the peak at the most rows over that at the fewest.
"""

from __future__ import annotations

import argparse
import json

from benchmarks import judge
from benchmarks.field import measure
from benchmarks.run import asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--in-flight", type=int, default=512)
    options = parser.parse_args()
    mine, theirs = judge.cores()
    result: dict[str, dict[str, float]] = {}
    with asked("nginx", theirs, 0.0) as (url, about):
        print(f"peak MB, {options.in_flight} in flight, {about}", flush=True)
        for name in ("scorer", "scorer-tokens"):
            peaks = {}
            for count in sorted(options.rows):
                peaks[count] = measure(name, count, url, options.in_flight, mine, patience_s=7200).peak_mb
                print(f"{name:16}{count:10} rows {peaks[count]:7.1f} MB", flush=True)
            ratio = peaks[max(peaks)] / peaks[min(peaks)]
            result[name] = {**{str(count): peak for count, peak in peaks.items()}, "ratio": ratio}
            print(f"{name:16}ratio {ratio:.3f}", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
