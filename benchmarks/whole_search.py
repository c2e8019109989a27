"""The search over whole detectors: what each space finds at the latencies of published detectors, and the proofs' cost.

    python benchmarks/whole_search.py --out docs/benchmarks/whole-search.jsonl --page docs/benchmarks/whole-search.md

Every search runs in a fresh process, so that seconds and memory are its own; rows that the file holds are not computed
again. The page's tables are written between its marks.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from nas.budgets import LATENCY, parse_budgets
from nas.costs import architecture_costs
from nas.devices.profile import load_device
from nas.scores import get_score
from nas.searcher.evaluator import whole_limits
from nas.strategies.exact.search import solve
from nas.variant_costs import DEFAULT_INPUT_PX, space_costs
from search_spaces.space_file import load_space
from workbench.errors import BadInput
from workbench.files import write_atomic
from zoo.resolve import ResolvedModel, resolve_model

SPACES = ("res", "damo", "modern")
PUBLISHED = ("damo-yolo-t", "damo-yolo-s", "damo-yolo-m", "yolo26n", "yolo26s", "yolo26m")
PROOFS = (
    ("damo", "t4", "3ms"),
    ("modern", "t4", "3ms"),
    ("nano", "raspberry-pi-5", "40ms"),
    ("edge-npu", "hailo-8", "3ms"),
)
PARTS = ("backbone", "neck", "head", "fixed")
BEGIN, END = "<!-- searched: begin -->", "<!-- searched: end -->"


def one(space: str, device: str, budget: str) -> dict[str, Any]:
    """Solve one problem in this process."""
    profile, chosen = load_device(device), load_space(space)
    start, began = time.perf_counter(), time.process_time()
    costs = space_costs(chosen, profile)
    problem = {"space": space, "device": device, "budget": budget}
    try:
        found = solve(get_score("calibrated").over_rows(costs), whole_limits(costs, parse_budgets([budget])))
    except BadInput as error:  # a space may not reach so far down
        return problem | {"refused": str(error)}
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - began
    arch = chosen.decode(found.rows[-1])
    side = arch.input_px or DEFAULT_INPUT_PX
    measured = architecture_costs(arch, side, profile)
    graph, px = ResolvedModel("", arch).score_graph(side, deployed=True)
    forecast = get_score("forecast")(graph, px).value
    certificate = found.certificate
    return problem | {
        "options": certificate.options, "proved": certificate.proved,
        "score": certificate.score, "forecast": forecast, "input_px": side, "ms": measured.costs[LATENCY],
        "parts_ms": measured.parts_ms, "mparams": measured.costs["params"] / 1e6, "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1), "updates": certificate.table_entries, "front": len(found.rows),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024), "architecture": arch.to_dict(),
    }  # fmt: skip


def published(model: str, device: str) -> dict[str, Any]:
    """A published detector under the same profile and scores, at 640 px."""
    profile, px = load_device(device), DEFAULT_INPUT_PX
    graph = resolve_model(model).graph("detector", px)
    parts = profile.parts_ms(graph, px)
    scored, side = resolve_model(model).score_graph(px, deployed=True)
    return {
        "model": model, "device": device, "input_px": px, "ms": profile.latency_ms(graph, px), "parts_ms": parts,
        "mparams": float(graph.table(px).total(graph.table(px).params)) / 1e6,
        "score": get_score("calibrated")(scored, side).value, "forecast": get_score("forecast")(scored, side).value,
    }  # fmt: skip


def tasks(quick: bool) -> list[list[str]]:
    """Arguments of every row, those of ``one`` or of ``published``; ``quick``: two small ones."""
    if quick:
        return [["damo-yolo-ns", "t4"], ["nano", "raspberry-pi-5", "12ms"]]
    found = [[model, "t4"] for model in PUBLISHED]
    for model in PUBLISHED:
        ms = load_device("t4").latency_ms(resolve_model(model).graph("detector", DEFAULT_INPUT_PX), DEFAULT_INPUT_PX)
        found += [[space, "t4", f"{ms:.3f}ms"] for space in SPACES]
    found += [[space, "raspberry-pi-5", "100ms"] for space in SPACES]
    return found + [list(proof) for proof in PROOFS]


def fill(path: Path, quick: bool) -> list[dict[str, Any]]:
    """Rows of the file, with those that it lacks computed."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    known = {tuple(row["task"]) for row in rows}
    for task in tasks(quick):
        if tuple(task) in known:
            continue
        known.add(tuple(task))
        done = subprocess.run(
            [sys.executable, __file__, "--one", *task], capture_output=True, text=True, check=True
        )  # fmt: skip
        rows.append({"task": task, **json.loads(done.stdout)})
        write_atomic(path, "".join(json.dumps(row) + "\n" for row in rows))
        print(f"{' '.join(task)}: {rows[-1].get('score', 'refused')}", flush=True)
    return rows


def page_tables(rows: list[dict[str, Any]]) -> str:
    """The tables of the page."""
    lines = [
        "| budget | network | calibrated | forecast | side | ms | backbone | neck | head | M parameters |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    by_budget: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        key = f"{row['device']}, {row.get('budget') or format(row['ms'], '.3f') + 'ms'}"
        by_budget.setdefault(key, []).append(row)
    proofs = {(space, device, budget) for space, device, budget in PROOFS}
    for key, group in by_budget.items():
        for row in group:
            if (row.get("space"), row["device"], row.get("budget")) in proofs:
                continue
            name = row.get("model") or f"best of `{row['space']}`"
            if "refused" in row:
                lines.append(f"| {key} | {name} | {row['refused'].partition(': ')[2]} |{' |' * 7}")
                continue
            parts = [f"{row['parts_ms'].get(part, 0.0):.2f}" for part in PARTS[:3]]
            values = [f"{row['score']:.4f}", f"{row['forecast']:.4f}", str(row["input_px"]), f"{row['ms']:.2f}", *parts]
            lines.append(f"| {key} | {name} | {' | '.join(values)} | {row['mparams']:.1f} |")
    lines += [
        "",
        "| space | device, budget | detectors | proved | seconds | CPU seconds | MB | front | best score | side |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if (row.get("space"), row["device"], row.get("budget")) in proofs:
            lines.append(
                f"| `{row['space']}` | {row['device']}, {row['budget']} | {row['options']:.2g} | "
                f"{'yes' if row['proved'] else 'no'} | {row['seconds']} | {row['cpu_seconds']} | {row['peak_mb']} | "
                f"{row['front']:,} | {row['score']:.4f} | {row['input_px']} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON lines, a row a search")
    parser.add_argument("--page", type=Path, help="the page whose tables are written")
    parser.add_argument("--quick", action="store_true", help="two small rows, to see that it works")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(*args.one) if len(args.one) == 3 else published(*args.one)))
        return
    if args.out is None:
        parser.error("give --out FILE")
    text = page_tables(fill(args.out, args.quick))
    if args.page is None:
        print(text)
        return
    page = args.page.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    write_atomic(args.page, f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    main()
