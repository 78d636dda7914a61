"""What the benchmarks share: side-by-side timing, peak memory, the printed table and its JSON.

No time is asserted. Targets, which hold on an otherwise idle machine, are printed beside the measured values.
"""

import json
import re
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median, pstdev

from absl import flags

from hw1 import command, environment


def side_by_side(cases: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Times functions in turns, A B A B ..., so that load on the machine affects all of them alike.

    Each function is called once before, so that compilation and other one-time costs are not timed.

    Args:
        cases: name → function without arguments.
        repetitions: number of timed calls of each function.

    Returns:
        Name → seconds of each repetition.
    """
    for run in cases.values():
        run()
    seconds = {name: [] for name in cases}
    for _ in range(repetitions):
        for name, run in cases.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """The median of the ratios of times that were measured one after the other."""
    return median(a / b for a, b in zip(slow, fast, strict=True))


def row(what: str, values: list[float], unit: str, ratio: float | None = None, target: str = "") -> dict:
    """Makes a row of the table.

    Args:
        what: what was measured.
        values: the measured values, one per repetition.
        unit: unit of the values.
        ratio: the comparison with another row, if any.
        target: what the values or the ratio should be.
    """
    about = {"what": what, "median": median(values), "mean": mean(values), "standard_deviation": pstdev(values)}
    return about | {"unit": unit, "ratio": ratio, "target": target, "repetitions": len(values), "values": values}


def peak_memory() -> float:
    """The peak resident memory of this process so far, in GB.

    `resource.getrusage` would include the memory that the parent process held when it started this one.
    """
    try:
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1e6
    except OSError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main(name: str, text: str, run: Callable[..., list[dict]], options: dict[str, tuple[int, str]], argv=None) -> None:
    """Runs a benchmark as a command: prints its table and writes `benchmark_<name>.json` with the environment.

    Args:
        name: name of the benchmark.
        text: text that --help prints before the flags.
        run: a function that takes the options and returns the rows.
        options: flag → default and help text.
        argv: the command line; None for that of this process.
    """
    values = flags.FlagValues()
    for flag, (default, about) in options.items():
        flags.DEFINE_integer(flag, default, f"{about} [{default}]", lower_bound=1, flag_values=values)
    flags.DEFINE_string("out", "runs", "folder of the JSON [runs]", flag_values=values)
    flags.DEFINE_bool("traceback", False, "show where an error arose [false]", flag_values=values)
    flags.DEFINE_bool("help", False, "show this text", flag_values=values)
    with command.exit_on_error(code=2):
        command.parse(values, argv, text)
    with command.exit_on_error(traceback=values.traceback):
        path = Path(values.out, f"benchmark_{name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = run(**{flag: values[flag].value for flag in options})
        path.write_text(json.dumps(environment.describe() | {"rows": rows}, indent=2) + "\n")
        print(f"{table(rows)}\n\nEach ratio is the median of the ratios of neighbouring times. All values: {path}")


def table(rows: list[dict]) -> str:
    """Formats the rows as aligned text."""
    lines = [("what", "median", "mean ± deviation", "unit", "ratio", "target", "repetitions")]
    for each in rows:
        spread = f"{each['mean']:.3g} ± {each['standard_deviation']:.1g}"
        times = "" if each["ratio"] is None else f"{each['ratio']:.3g}×"
        unit, target, count = each["unit"], each["target"], str(each["repetitions"])
        lines.append((each["what"], f"{each['median']:.3g}", spread, unit, times, target, count))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
