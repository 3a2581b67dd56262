"""Runs the fault tables, all or by name, and prints what was promised beside what was measured."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import textwrap
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import harness  # noqa: E402
import rig as rigs  # noqa: E402

# In the order in which they run.
TABLES = sorted(path.stem for path in (HERE / "scenarios").glob("*.py"))
WIDTHS = {"id": 5, "fault": 27, "invariant": 30, "target": 30, "measured": 50, "verdict": 7}


def order(name: str) -> tuple:
    letters = name.rstrip("0123456789abcdefghijklmnopqrstuvwxyz")
    digits = "".join(filter(str.isdigit, name)) or "0"
    return letters, int(digits), name


def run(scenario: rigs.Scenario, keep: bool) -> tuple[str, str]:
    """The verdict and the figure, or why there is none."""
    rig = rigs.Rig(scenario.id)
    try:
        return "ok", scenario.run(rig) or ""
    except rigs.Open as reason:
        return "open", str(reason)
    except AssertionError as failure:
        return "FAILED", str(failure)
    except Exception as error:
        traceback.print_exc()
        return "FAILED", f"{type(error).__name__}: {error}"
    finally:
        rig.close(keep)


def table(rows: list[dict]) -> str:
    def line(cells: dict) -> str:
        wrapped = {name: textwrap.wrap(" ".join(str(cells[name]).split()), width) or [""] for name, width in WIDTHS.items()}
        height = max(map(len, wrapped.values()))
        return "\n".join(
            "  ".join((wrapped[name][at] if at < len(wrapped[name]) else "").ljust(width) for name, width in WIDTHS.items()).rstrip()
            for at in range(height))

    rule = "  ".join("-" * width for width in WIDTHS.values())
    return "\n".join([line({name: name for name in WIDTHS}), rule, *map(line, rows)])


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/chaos/run.sh", description=__doc__)
    parser.add_argument("names", nargs="*", help="scenarios (U7) or whole tables (U); all if none is named")
    parser.add_argument("--list", action="store_true", help="print the scenarios and stop")
    parser.add_argument("--keep", action="store_true", help="leave the folders of the scenarios, with configurations and logs")
    arguments = parser.parse_args()
    for name in TABLES:
        importlib.import_module(f"scenarios.{name}")
    known = sorted(rigs.SCENARIOS, key=order)
    chosen = [name for name in known if not arguments.names or name in arguments.names or order(name)[0] in arguments.names]
    unknown = [name for name in arguments.names if name not in known and name not in {order(one)[0] for one in known}]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {' '.join(known)}")
    if arguments.list:
        print("\n".join(f"{name:<6} {rigs.SCENARIOS[name].fault}" for name in known))
        return 0
    if not harness.BIN.exists():
        parser.error(f"{harness.BIN} does not exist; tests/chaos/run.sh builds it")

    rows, begun = [], time.monotonic()
    for name in chosen:
        scenario, started = rigs.SCENARIOS[name], time.monotonic()
        verdict, measured = run(scenario, arguments.keep)
        print(f"{name:<5} {verdict:<6} {time.monotonic() - started:5.1f} s  {scenario.fault}: {measured}", flush=True)
        rows.append({"id": name, "fault": scenario.fault, "invariant": scenario.invariant, "target": scenario.target,
                     "measured": measured.splitlines()[0][:400] if measured else "", "verdict": verdict})
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in ("ok", "FAILED", "open")}
    cores = os.cpu_count()
    print(f"\n{table(rows)}\n\n{counts['ok']} hold, {counts['FAILED']} failed, {counts['open']} open; "
          f"{time.monotonic() - begun:.0f} s on {cores} cores, load {os.getloadavg()[0]:.1f}")
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
