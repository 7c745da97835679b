"""Print how many clients a second the engines simulate: fedrec's, Flower's on Ray, and pfl-research.

All do the same work on the same numbers: rounds of 100 clients, one local step, clip and noise. Each engine is a
process of its own that waits for its turn: a round of each, then the next round, so that whatever else the machine
does meets all of them. The rate of one large product, measured in turn with them, says what the arithmetic allows.
"""

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).parents[2]
PRODUCT = 2048
# Rounds before those that count: caches, allocators, the lazy parts of frameworks.
WARM = 2
QUICK, WHOLE = {"light": 5, "heavy": 2}, {"light": 40, "heavy": 11}
# Engines that are tried in several settings; the best at a kind of work counts.
SETTINGS = {
    "cohort": ("cohort",),
    "reference": ("reference", "reference_1"),
    "flower_ray": ("flower_ray",),
    "pfl": ("pfl_1", "pfl_2"),
}
# The same with what clients pay written to the disk, as a simulation has it: beside the comparison, as the others keep
# no ledger, and less often.
ASIDE = ("cohort_files", "reference_files")
# Those that can be looked into; what Flower's and pfl's clients compute is the `product` process's count of the work.
COUNTED = ("product", "cohort", "reference")
# A quick run tries one setting of each, which has been the better one or near it.
TRIED_QUICKLY = ("cohort", "reference", "flower_ray", "pfl_2")
CACHE = Path(os.environ.get("FEDREC_CACHE") or Path.home() / ".cache" / "fedrec") / "bench"
PFL = ("pfl==0.6.0", "dp-accounting<0.6")


def main() -> None:
    """Measure, and print one JSON object, or a few lines for people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--device", default="cpu", help="where the cohort engine and the product compute, such as cuda")
    parser.add_argument("--only", nargs="*", default=list(SETTINGS), choices=list(SETTINGS), help="these engines alone")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _work(*options.worker)
        return
    tried = [name for engine in options.only for name in SETTINGS[engine] if not options.quick or name in TRIED_QUICKLY]
    if not options.quick:
        tried += [name for name in ASIDE if name.removesuffix("_files") in options.only]
    report = measured(QUICK if options.quick else WHOLE, tried=tried, device=options.device)
    print(json.dumps(report, indent=2) if options.json else text(report))


def measured(rounds: dict[str, int], *, tried: Sequence[str], device: str = "cpu") -> dict[str, Any]:
    """The whole report. rounds: that count, of each kind of work. tried: names of settings."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        world = Path(scratch) / "world.npz"
        subprocess.run([*_python("world"), str(world)], check=True, env=_environment())
        commands, left_out = _commands(world, tried, device)
        workers = {name: stack.enter_context(_worker(name, command)) for name, command in commands.items()}
        for worker in workers.values():
            worker.wait()
        for kind, count in rounds.items():
            for number in range(1, WARM + count + 1):
                for name, worker in workers.items():
                    if name in ASIDE and number % 4 != 1:
                        continue
                    save = Path(scratch) / f"{kind}-{name}.npy" if number == WARM and name != "product" else None
                    worker.turn(kind, number, save=save)
        flop = {name: {kind: workers[name].count(kind) for kind in rounds} for name in COUNTED if name in workers}
        sums = {
            (kind, name): np.load(Path(scratch) / f"{kind}-{name}.npy")
            for kind in rounds
            for name in workers
            if name not in ("product", *ASIDE)
        }
    return _report(workers, flop, sums, rounds, left_out, device=device)


@dataclass(slots=True)
class Worker:
    """An engine that waits for its turn. seconds, peak_mib: of each kind of work."""

    name: str
    process: "subprocess.Popen[str]"
    seconds: dict[str, list[float]] = field(default_factory=dict)
    peak_mib: dict[str, float] = field(default_factory=dict)

    def wait(self) -> None:
        """Until it is ready."""
        self._answer()

    def turn(self, kind: str, number: int, *, save: Path | None = None) -> None:
        """One round; its time is kept where it counts."""
        found = self._ask({"kind": kind, "number": number, "save": save and str(save)})
        if number > WARM:
            self.seconds.setdefault(kind, []).append(found["seconds"])
        self.peak_mib[kind] = max(found["peak_mib"], _peak_mib(self.process.pid))

    def count(self, kind: str) -> int:
        """Floating-point operations of a round's products, as torch counts them."""
        return int(self._ask({"kind": kind, "number": 1_000, "count": True})["flop"])

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise SystemExit(f"The engine {self.name} stopped: this measures nothing. Its own words are above.")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def _worker(name: str, command: list[str]) -> Iterator[Worker]:
    """A process that has ended when the block ends."""
    threads = {"reference_1": "1", "pfl_1": "1", "pfl_2": "1"}.get(name, str(os.cpu_count()))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment(threads)
    ) as process:
        yield Worker(name, process)
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def _commands(world: Path, tried: Sequence[str], device: str) -> tuple[dict[str, list[str]], dict[str, str]]:
    """How each engine in each setting is started, and why one is left out."""
    commands = {"product": [*_python("product"), str(world), device]}
    left_out = {}
    for engine, names in SETTINGS.items():
        chosen = [name for name in names if name in tried]
        if engine == "pfl" and chosen:
            try:
                python = str(_pfl_environment())
            except (subprocess.CalledProcessError, OSError) as error:
                left_out["pfl"] = (
                    f"its environment could not be made ({type(error).__name__}). Is a package index there?"
                )
                continue
            file = str(Path(__file__).with_name("engines_pfl.py"))
            commands |= {name: [python, file, str(world), name.rpartition("_")[2]] for name in chosen}
        else:
            commands |= {name: [*_python(engine), str(world), device] for name in chosen}
    commands |= {name: [*_python(name), str(world), device] for name in ASIDE if name in tried}
    return commands, left_out


def _pfl_environment() -> Path:
    """The Python of an environment with pfl-research, made on first use; torch is the one that we run."""
    folder = CACHE / PFL[0].replace("==", "-")
    python = folder / "bin" / "python"
    done = folder / "done"
    if not done.exists():
        say = {"check": True, "stdout": sys.stderr}
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], **say)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PFL], **say)
        ours = Path(np.__file__).parents[1]
        (site,) = (folder / "lib").glob("python*/site-packages")
        # Behind its own packages: whatever it has itself comes first.
        (site / "zz_torch.pth").write_text(f"{ours}\n")
        subprocess.run([python, "-c", "import pfl.model.pytorch"], **say)
        done.touch()
    return python


def _python(worker: str) -> list[str]:
    return [sys.executable, __file__, "--worker", worker]


def _environment(threads: str = "") -> dict[str, str]:
    threads = threads or str(os.cpu_count())
    # Who waits for its turn must not hold a core meanwhile.
    quiet = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": threads, "PYTHONWARNINGS": "ignore"}
    return os.environ | quiet | {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{Path(__file__).parent}"}


def _work(name: str, world: str, device: str = "cpu") -> None:
    """Be one of the processes."""
    if name == "flower_ray":
        from engines_ray import run

        run(Path(world))
        return
    if name == "world":
        from engines_world import save_problem

        save_problem(Path(world))
        return
    from engines_model import serve

    serve(_TURNS[name](Path(world), device))


def _cohort(_: Path, device: str) -> Any:
    from engines_world import Rounds, cohort

    return Rounds(cohort(device)).turn


def _cohort_files(_: Path, device: str) -> Any:
    from engines_world import Rounds, cohort

    return Rounds(cohort(device), files=True).turn


def _reference(_: Path, __: str) -> Any:
    from engines_world import Rounds, reference

    return Rounds(reference).turn


def _reference_files(_: Path, __: str) -> Any:
    from engines_world import Rounds, reference

    return Rounds(reference, files=True).turn


def _product(world: Path, device: str) -> Any:
    from engines_model import Product

    return Product(world, size=PRODUCT, device=device).turn


_TURNS: dict[str, Callable[[Path, str], Any]] = {
    "cohort": _cohort,
    "cohort_files": _cohort_files,
    "reference": _reference,
    "reference_files": _reference_files,
    "product": _product,
}


def _peak_mib(process: int) -> float:
    """The most resident memory that each process under this one held, added up."""
    parents: dict[int, int] = {}
    peaks: dict[int, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = dict(
                line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line
            )
            parents[int(folder.name)] = int(status["PPid"])
            peaks[int(folder.name)] = int(status.get("VmHWM", "0 kB").split()[0]) / 1024
        except OSError:  # it has ended meanwhile
            continue
    family, grown = {process}, True
    while grown:
        children = {each for each, parent in parents.items() if parent in family} - family
        family, grown = family | children, bool(children)
    return sum(peaks.get(each, 0.0) for each in family)


def _report(
    workers: dict[str, Worker],
    flop: dict[str, dict[str, int]],
    sums: dict[tuple[str, str], Any],
    rounds: dict[str, int],
    left_out: dict[str, str],
    *,
    device: str,
) -> dict[str, Any]:
    from engines_model import COHORT, ITEMS, KINDS, NEGATIVES, RANK, WIDTH

    product = 2 * PRODUCT**3 / median(itertools.chain.from_iterable(workers["product"].seconds.values()))
    each = {
        name: {kind: COHORT / median(times) for kind, times in worker.seconds.items()}
        for name, worker in workers.items()
        if name != "product"
    }
    rates = {
        engine: {kind: max(each[name][kind] for name in names if name in each) for kind in rounds}
        for engine, names in SETTINGS.items()
        if any(name in each for name in names)
    }
    needed = {kind: flop["product"][kind] for kind in rounds}
    results = {
        "clients_per_s": rates,
        "clients_per_s_by_setting": each,
        "limit_clients_per_s": {kind: product / needed[kind] for kind in rounds},
        "product_gflop_per_s": product / 1e9,
        "mflop_per_client": {"work": {kind: needed[kind] / 1e6 for kind in rounds}}
        | {name: {kind: flop[name][kind] / COHORT / 1e6 for kind in rounds} for name in each if name in flop},
        "peak_mib": {name: worker.peak_mib for name, worker in workers.items() if name != "product"},
        "max_difference": max(
            (float(np.abs(sums[kind, name] - sums[kind, "reference"]).max()) for kind, name in sums), default=0.0
        )
        if ("light", "reference") in sums
        else None,
        "largest_of_the_sum": {kind: float(np.abs(sums[kind, name]).max()) for kind, name in sums},
        "left_out": left_out,
    }
    return {
        "machine": {
            "cores": os.cpu_count(),
            "processor": platform.machine(),
            "device": device,
            "numpy": np.__version__,
            "load": os.getloadavg()[0],
        },
        "work": {
            "cohort": COHORT,
            "items": ITEMS,
            "width": WIDTH,
            "rank": RANK,
            "negatives": NEGATIVES,
            "kinds": {name: {"events": kind.events, "scored": kind.negatives or ITEMS} for name, kind in KINDS.items()},
            "rounds": rounds,
        },
        "results": results,
        "ratios": _ratios(rates, results, product, flop, rounds),
    }


def _ratios(
    rates: dict[str, dict[str, float]],
    results: dict[str, Any],
    product: float,
    flop: dict[str, dict[str, int]],
    rounds: dict[str, int],
) -> dict[str, float]:
    """Of the cohort engine to the others, and to what the arithmetic allows: of the work, and of its own products."""
    from engines_model import COHORT

    if "cohort" not in rates:
        return {}
    ours, ratios = rates["cohort"], {}
    for kind in rounds:
        for other, short in (("flower_ray", "ray"), ("pfl", "pfl"), ("reference", "reference")):
            if other in rates:
                ratios[f"cohort_vs_{short}_{kind}"] = ours[kind] / rates[other][kind]
        ratios[f"{kind}_share_of_limit"] = ours[kind] / results["limit_clients_per_s"][kind]
        ratios[f"{kind}_share_of_own_products"] = ours[kind] * flop["cohort"][kind] / COHORT / product
    return ratios


def text(report: dict[str, Any]) -> str:
    """A few lines for people."""
    found, ratios = report["results"], report["ratios"]
    lines = [
        f"{name}: {rates['light']:.0f} light, {rates['heavy']:.0f} heavy clients/s, "
        f"{found['peak_mib'][name]['heavy']:.0f} MiB"
        for name, rates in found["clients_per_s_by_setting"].items()
    ]
    limit = found["limit_clients_per_s"]
    lines.append(
        f"limit: {limit['light']:.0f} light, {limit['heavy']:.0f} heavy clients/s, at "
        f"{found['product_gflop_per_s']:.0f} GFLOP/s"
    )
    if found["max_difference"] is not None:
        lines.append(f"greatest difference of a sum: {found['max_difference']:.1e}")
    lines += [f"{name}: {value:.2f}" for name, value in ratios.items()]
    lines += [f"{name} is left out: {why}" for name, why in found["left_out"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
