"""Print how many clients a second the engines simulate: fedrec's, Flower's on Ray, and pfl-research.

All do the same work on the same numbers: rounds of 100 clients, one local step, clip and noise. Each engine is a
process of its own that waits for its turn: rounds back to back for half a second, as a simulation runs them, then the
next engine, so that whatever else the machine does meets all of them. The rate of one large product, measured in turn
with them, says what the arithmetic allows.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from engines_report import PRODUCT, SETTINGS, Measured, text
from engines_worker import started

REPOSITORY = Path(__file__).parents[2]
# Turns of each engine at each kind of work.
QUICK, WHOLE = {"light": 2, "heavy": 1}, {"light": 20, "heavy": 11}
# The same with what clients pay written to the disk, as a simulation has it, and with products in half the precision:
# beside the comparison, as the others keep no ledger and compute in float32, and less often.
ASIDE = ("cohort_files", "reference_files", "cohort_bf16")
# Those that can be looked into; what Flower's and pfl's clients compute is the `product` process's count of the work.
COUNTED = ("product", "cohort", "reference")
# A quick run tries one setting of each, which has been the better one or near it.
TRIED_QUICKLY = ("cohort", "bare", "reference", "flower_ray", "pfl_2")
_ONE_THREAD = ("reference_1", "pfl_1", "pfl_2")
CACHE = Path(os.environ.get("FEDREC_CACHE") or Path.home() / ".cache" / "fedrec") / "bench"
PFL = ("pfl==0.6.0", "dp-accounting<0.6")


def main() -> None:
    """Measure, and print one JSON object, or a few lines for people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--device", default="cpu", help="where the cohort engine and the product compute, such as cuda")
    parser.add_argument("--only", nargs="*", default=list(SETTINGS), choices=list(SETTINGS), help="these engines alone")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _work(*options.worker)
        return
    tried = [name for engine in options.only for name in SETTINGS[engine] if not options.quick or name in TRIED_QUICKLY]
    if not options.quick:
        tried += [name for name in ASIDE if name.partition("_")[0] in options.only]
    report = measured(QUICK if options.quick else WHOLE, tried=tried, device=options.device)
    print(json.dumps(report, indent=2) if options.json else text(report))


def measured(turns: dict[str, int], *, tried: Sequence[str], device: str = "cpu") -> dict[str, Any]:
    """The whole report. turns: of each engine that count, by kind of work. tried: names of settings."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        world = Path(scratch) / "world.npz"
        subprocess.run([*_python("world"), str(world)], check=True, env=_environment())
        commands, left_out = _commands(world, tried, device)
        workers = {
            name: stack.enter_context(started(name, command, _environment(name))) for name, command in commands.items()
        }
        for worker in workers.values():
            worker.wait()
        for kind, count in turns.items():
            for turn in range(1 + count):
                for name, worker in workers.items():
                    if name in ASIDE and turn % 4 > 1:
                        continue
                    save = Path(scratch) / f"{kind}-{name}.npy" if not turn and name != "product" else None
                    worker.turn(kind, save=save)
        flop = {name: {kind: workers[name].count(kind) for kind in turns} for name in COUNTED if name in workers}
        sums = {
            (kind, name): np.load(Path(scratch) / f"{kind}-{name}.npy")
            for kind in turns
            for name in workers
            if not name.endswith(("product", "_files"))
        }
    return Measured(workers=workers, turns=turns, flop=flop, sums=sums, left_out=left_out, device=device).report()


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


def _environment(name: str = "") -> dict[str, str]:
    threads = "1" if name in _ONE_THREAD else str(os.cpu_count())
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


def _cohort_bf16(_: Path, device: str) -> Any:
    from engines_world import Rounds, cohort_bf16

    return Rounds(cohort_bf16(device)).turn


def _reference(_: Path, __: str) -> Any:
    from engines_world import Rounds, reference

    return Rounds(reference).turn


def _reference_files(_: Path, __: str) -> Any:
    from engines_world import Rounds, reference

    return Rounds(reference, files=True).turn


def _bare(world: Path, _: str) -> Any:
    from engines_bare import Bare

    return Bare(world).turn


def _product(world: Path, device: str) -> Any:
    from engines_model import Product

    return Product(world, size=PRODUCT, device=device).turn


_TURNS: dict[str, Callable[[Path, str], Any]] = {
    "cohort": _cohort,
    "cohort_files": _cohort_files,
    "cohort_bf16": _cohort_bf16,
    "reference": _reference,
    "reference_files": _reference_files,
    "bare": _bare,
    "product": _product,
}


if __name__ == "__main__":
    main()
