"""pfl-research in the benchmark of engines, run by the Python of its own environment: FILE [PROCESSES].

Its own backend, federated averaging and Gaussian mechanism over the bare model, whose data lie ready as tensors.
"""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import torch
from engines_model import (
    CLIP_NORM,
    COHORT,
    KINDS,
    LEARNING_RATE,
    NOISE_MULTIPLIER,
    Problem,
    Tower,
    adapter_of,
    negatives_of,
    serve,
)


class Ended(Exception):  # noqa: N818
    """There are no more rounds."""


def main() -> None:
    """Answer the conductor, or follow the process that does."""
    file, processes = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    torch.set_num_threads(1)
    if processes == 1 or "RANK" in os.environ:
        _Simulation(file).run()
    else:
        _together(file, processes)


def _together(file: Path, processes: int) -> None:
    """As torchrun would; the first process speaks to the conductor."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = os.environ | {
        "TORCHELASTIC_RUN_ID": "bench",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
    }
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(file), str(processes)],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdin=None if rank == 0 else subprocess.DEVNULL,
            stdout=None if rank == 0 else subprocess.DEVNULL,
        )
        for rank in range(processes)
    ]
    # One may abort as it ends, after all its rounds were right.
    for each in started:
        each.wait()


class _Simulation:
    """pfl's loop over rounds, held before each until the conductor asks for it."""

    def __init__(self, file: Path) -> None:
        from pfl.data.dataset import Dataset

        problem = Problem.load(file)
        self.tower = Tower(problem.vectors)
        self.people = {
            name: [Dataset(data, user_id=str(user)) for user, data in enumerate(clients)]
            for name, clients in problem.clients.items()
        }
        self.kind = KINDS["light"]
        self.began = 0.0
        self.total: Any = None
        self.rank = int(os.environ.get("RANK", 0))
        self._asked: dict[str, Any] = {}
        self._rounds: Any = None

    def run(self) -> None:
        """Until there are no more rounds."""
        self.asked, self.answers = Queue[Any](), Queue[Any]()
        if self.rank == 0:
            # pfl keeps the main thread, in which it has set up torch.
            speaker = threading.Thread(target=self._speak)
            speaker.start()
        with suppress(Ended):
            self._train()

    def _speak(self) -> None:
        def turn(asked: dict[str, Any]) -> dict[str, Any]:
            self.asked.put(asked)
            found: dict[str, Any] = self.answers.get()
            return found

        serve(turn)
        self.asked.put(None)

    def next_round(self) -> None:
        """Wait for the conductor, in all processes, and start the clock."""
        asked = self.asked.get() if self.rank == 0 else None
        if "RANK" in os.environ:
            shared = [asked]
            torch.distributed.broadcast_object_list(shared, src=0)
            (asked,) = shared
        if asked is None:
            raise Ended
        self._asked, self.kind = asked, KINDS[asked["kind"]]
        self.tower.start(adapter_of(asked["number"]), negatives_of(asked["number"], self.kind))
        self.began = time.perf_counter()

    def end_round(self) -> None:
        """Stop the clock and answer."""
        seconds = time.perf_counter() - self.began
        if self._asked.get("save") and self.rank == 0:
            np.save(self._asked["save"], self.total)
        if self.rank == 0:
            self.answers.put({"seconds": seconds})

    def _train(self) -> None:
        from pfl.aggregate.simulate import SimulatedBackend
        from pfl.algorithm.base import NNAlgorithmParams
        from pfl.algorithm.federated_averaging import FederatedAveraging
        from pfl.callback.base import TrainingProcessCallback
        from pfl.data.federated_dataset import FederatedDataset
        from pfl.data.sampling import MinimizeReuseUserSampler
        from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
        from pfl.metrics import Metrics, Weighted
        from pfl.model.pytorch import PyTorchModel
        from pfl.postprocessor.base import Postprocessor
        from pfl.privacy.gaussian_mechanism import GaussianMechanism
        from pfl.privacy.privacy_mechanism import CentrallyAppliedPrivacyMechanism

        logging.disable(logging.INFO)
        simulation = self

        class Held(FederatedAveraging):
            """Begins a round when it is asked for."""

            def get_next_central_contexts(self, model: Any, iteration: int, *others: Any) -> Any:
                if iteration:  # in the first, pfl evaluates everybody
                    simulation.next_round()
                return super().get_next_central_contexts(model, iteration, *others)

        class Ending(TrainingProcessCallback):
            """Answers at the end of each round."""

            def after_central_iteration(self, *_: Any, central_iteration: int) -> tuple[bool, Metrics]:
                if central_iteration:
                    simulation.end_round()
                return False, Metrics()

        class Kept(Postprocessor):
            """Keeps the sum as it was before the noise."""

            def postprocess_server(self, *, stats: Any, central_context: Any, aggregate_metrics: Any) -> Any:  # noqa: ARG002
                if simulation._asked.get("save"):
                    simulation.total = next(iter(stats.values())).detach().reshape(-1).double().numpy().copy()
                return stats, Metrics()

        self.tower.metrics = lambda *_: {"nothing": Weighted(0, 1)}  # type: ignore[method-assign]
        parameters = [self.tower.b.weight]
        model = PyTorchModel(
            self.tower, lambda _, lr: torch.optim.SGD(parameters, lr=lr), torch.optim.SGD(parameters, lr=1.0)
        )
        people = FederatedDataset(
            lambda user: self.people[self.kind.name][int(user)], MinimizeReuseUserSampler(list(range(COHORT)))
        )
        noise = CentrallyAppliedPrivacyMechanism(GaussianMechanism(CLIP_NORM, NOISE_MULTIPLIER))
        Held().run(
            NNAlgorithmParams(
                central_num_iterations=1_000_000,
                evaluation_frequency=1_000_000,
                train_cohort_size=COHORT,
                val_cohort_size=None,
            ),
            SimulatedBackend(people, people, postprocessors=[noise, Kept()]),
            model,
            NNTrainHyperParams(local_num_epochs=1, local_learning_rate=LEARNING_RATE, local_batch_size=None),
            NNEvalHyperParams(local_batch_size=None),
            callbacks=[Ending()],
            send_metrics_to_platform=False,
        )


if __name__ == "__main__":
    main()
