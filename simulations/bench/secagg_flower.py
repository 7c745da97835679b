"""Flower's own SecAgg+ on its legacy API, for the same cohort: its workflow and its client mod, in this process.

Messages are written as Flower's bytes and read again, which is where their size comes from; the time of that is
nobody's. The adapter that goes with a round is left out here, as it is on our side.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from flwr.app import Context, Error, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.common import Code, ConfigRecord, FitIns, FitRes, Parameters, Scalar, Status, ndarrays_to_parameters
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.compat.common.recorddict_compat import fitres_to_recorddict, parameters_to_arrayrecord
from flwr.server import LegacyContext
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.server.workflow.secure_aggregation.secaggplus_workflow import WorkflowState
from secagg_world import NOISE_MULTIPLIER, Meter, an_update, dropped, parameters_and_ring

from fedrec.federation.local_grid import LocalGrid

# Of everybody the same, and as large as may be: a plain mean.
_EXAMPLES = 1000
_NO_PARAMETERS = Parameters(tensors=[], tensor_type="")
# Half a step of its grid of 2^22 on [-8, 8], and the noise of rounding.
_ERROR = 8e-6


class MeteredGrid(LocalGrid):
    """Hands messages to the mod; who is dropped fails when asked for a masked vector. others: seconds not the server's.

    Nodes are numbered from 2, and clients from 1.
    """

    def __init__(self, clients: int, *, size: int) -> None:
        super().__init__(self._client, clients=clients)
        self.meter = Meter()
        self.others = 0.0
        self._size = size
        self._dropped = dropped(clients)
        self._update = an_update(0, size=size)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:  # noqa: ARG002
        """All replies: the workflow reads them twice."""
        return list(super().send_and_receive(messages))

    def _handle(self, message: Message) -> Message:
        began = time.process_time()
        reply = self._metered(message)
        self.others += time.process_time() - began
        return reply

    def _metered(self, message: Message) -> Message:
        client = message.metadata.dst_node_id - 1
        content, size = _carried(message.content)
        stage = str(content.config_records[RECORD_KEY_CONFIGS][Key.STAGE])
        if stage == Stage.COLLECT_MASKED_VECTORS and client in self._dropped:
            return Message(Error(0, "dropped out"), reply_to=message)
        # The workflow's messages of a stage share one content, which the mod takes apart.
        message.content = content
        self._update = an_update(client, size=self._size)
        reply = self.meter.client(stage, client, lambda: super(MeteredGrid, self)._handle(message))
        if reply.has_error():
            raise SystemExit("Flower's client failed: this measures nothing.")
        reply.content, answered = _carried(reply.content)
        self.meter.down[stage][client], self.meter.up[stage][client] = size, answered
        return reply

    def _client(self, message: Message, context: Context) -> Message:
        """A client app that has trained already."""

        def fit(message: Message, _: Context) -> Message:
            result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([self._update]), _EXAMPLES, {})
            return Message(fitres_to_recorddict(result, False), reply_to=message)

        return secaggplus_mod(message, context, fit)


class Everybody(FedAvg):
    """Asks all nodes, and takes the one mean that the workflow hands it."""

    def __init__(self, grid: MeteredGrid) -> None:
        super().__init__()
        self._grid = grid

    def configure_fit(
        self,
        server_round: int,  # noqa: ARG002
        parameters: Parameters,  # noqa: ARG002
        client_manager: ClientManager,  # noqa: ARG002
    ) -> list[tuple[ClientProxy, FitIns]]:
        """One request to each, without parameters."""
        nodes = self._grid.get_node_ids()
        return [(GridClientProxy(node, self._grid, 1), FitIns(_NO_PARAMETERS, {})) for node in nodes]

    def aggregate_fit(
        self,
        server_round: int,  # noqa: ARG002
        results: Sequence[tuple[ClientProxy, FitRes]],
        failures: object,  # noqa: ARG002
    ) -> tuple[Parameters, dict[str, Scalar]]:
        """The workflow gives all results the mean already."""
        return results[0][1].parameters, {}


def flower(clients: int, *, size: int) -> dict[str, Any]:
    """One sum by SecAgg+, with as many neighbours as a client of ours draws, and our threshold."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    parameters, _ = parameters_and_ring(clients, size=size, noise_multiplier=NOISE_MULTIPLIER)
    # A client counts among its own neighbours here; on a ring they are an odd number.
    shares = clients if parameters.is_complete else (parameters.neighbours + 1) | 1
    workflow = SecAggPlusWorkflow(num_shares=shares, reconstruction_threshold=parameters.threshold)
    grid = MeteredGrid(clients, size=size)
    context = _context(grid)
    _run(workflow, grid, context)
    here = sorted(set(range(1, clients + 1)) - dropped(clients))
    _require_mean(context, here, size=size)
    return {"clients": clients, "parameters": size, "shares": shares, "threshold": parameters.threshold} | (
        grid.meter.report(here)
    )


def _run(workflow: SecAggPlusWorkflow, grid: MeteredGrid, context: LegacyContext) -> None:
    """The workflow's stages in its order; SystemExit where it gives up."""
    state, server = WorkflowState(), grid.meter.server
    steps = {
        Stage.SETUP: workflow.setup_stage,
        Stage.SHARE_KEYS: workflow.share_keys_stage,
        Stage.COLLECT_MASKED_VECTORS: workflow.collect_masked_vectors_stage,
        Stage.UNMASK: workflow.unmask_stage,
    }
    for stage, step in steps.items():
        grid.others = 0.0
        if not grid.meter.serve(stage, lambda: step(grid, context, state)):  # noqa: B023
            raise SystemExit("Flower gave the round up: this measures nothing.")
        server[stage] -= grid.others


def _context(grid: MeteredGrid) -> LegacyContext:
    state = RecordDict()
    state[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})
    state[MAIN_PARAMS_RECORD] = parameters_to_arrayrecord(_NO_PARAMETERS, True)
    empty = Context(run_id=1, node_id=1, node_config={}, state=state, run_config={})
    return LegacyContext(empty, strategy=Everybody(grid))


def _carried(content: RecordDict) -> tuple[RecordDict, int]:
    """The content as it arrives, and its bytes."""
    written = recorddict_to_proto(content)
    return recorddict_from_proto(written), written.ByteSize()


def _require_mean(context: LegacyContext, here: Sequence[int], *, size: int) -> None:
    (found,) = [array.numpy() for array in context.state.array_records[MAIN_PARAMS_RECORD].values()]
    mean = np.mean([an_update(client, size=size) for client in here], axis=0)
    if not np.allclose(found, mean, rtol=0, atol=_ERROR):
        raise SystemExit("Flower's mean is not the survivors': this measures nothing.")
