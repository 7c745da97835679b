"""Driving a sum under masks over a grid: five exchanges with whoever is still there.

A client that does not answer a stage in time has dropped out of the sum; one that comes back later is asked nothing
more in this round. Nothing is unmasked before the round is paid for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from flwr.app import Message

from fedrec.errors import ProtocolError, RefusedError
from fedrec.federation.exchange import CLOCK_SKEW, Exchange
from fedrec.federation.secure_messages import SECURE, pack_instructions, pack_request, unpack_answer
from fedrec.secagg.roster import Roster
from fedrec.secagg.server import SecureServer
from fedrec.secagg.terms import Stage
from fedrec.training.client import Instruction
from fedrec.training.masking import Masked, MaskedReply, Masking, Pay

# For a stage in which nobody trains: a device that is awake asks every few seconds.
_STAGE_SECONDS = 60.0


class SecureRound:
    """One round. nodes: of each client that is connected now, asked anew at every stage."""

    def __init__(self, exchange: Exchange, nodes: Callable[[], Mapping[int, int]], *, timeout: float) -> None:
        self._exchange = exchange
        self._nodes = nodes
        self._timeout = timeout

    def run(self, instruction: Instruction, cohort: Sequence[int], masking: Masking, *, pay: Pay) -> Masked:
        """The sum of a cohort; see `MaskingEngine`."""
        masked = Masked(instruction=instruction, cohort=cohort)
        try:
            server = _server(instruction, cohort, masking)
            for stage in Stage:
                if stage is Stage.REVEAL:
                    pay(masked)
                self._stage(server, stage, masked)
                server.close()
            found = server.result()
        except ProtocolError:
            # Some client sent what does not fit the others: masks hide whose fault it is.
            masked.failures["ruined"] += 1
        except RefusedError:
            masked.failures["too_few"] += 1
        else:
            masked.total, masked.survivors = found.words, len(found.survivors)
            if found.liars:
                masked.failures["lied"] += len(found.liars)
        return masked

    def _stage(self, server: SecureServer, stage: Stage, masked: Masked) -> None:
        requests = server.requests()
        pays = stage is Stage.MASK
        if pays:
            masked.spent.update(requests)
        silent = set(requests)
        timeout = self._timeout if pays else min(_STAGE_SECONDS, self._timeout)
        for reply in self._answers(requests, stage, masked.instruction, timeout=timeout):
            silent.discard(reply.client)
            masked.hear(reply, paid=pays)
            if not reply.code:
                try:
                    server.accept(reply.client, reply.answer)
                except ProtocolError:
                    masked.failures["unsound"] += 1
        if silent:
            masked.failures["timeout"] += len(silent)

    def _answers(
        self, requests: Mapping[int, bytes], stage: Stage, instruction: Instruction, *, timeout: float
    ) -> Iterator[MaskedReply]:
        nodes = self._nodes()
        asked = [client for client in requests if client in nodes]
        for client in requests.keys() - nodes.keys():
            yield MaskedReply(client=client, code="unreachable")
        common = pack_instructions(instruction, stage)
        messages = (
            Message(
                pack_request(common, stage, requests[client]),
                nodes[client],
                SECURE,
                ttl=timeout + CLOCK_SKEW,
                group_id=f"{instruction.round}-{int(stage)}",
            )
            for client in asked
        )
        for place, reply in self._exchange.ask(messages, timeout=timeout):
            client = asked[place]
            if reply is None:
                yield MaskedReply(client=client, code="unreachable")
            elif not reply.has_error() and reply.metadata.src_node_id != nodes[client]:
                yield MaskedReply(client=client, code="malformed")
            else:
                yield unpack_answer(client, reply)


def _server(instruction: Instruction, cohort: Sequence[int], masking: Masking) -> SecureServer:
    terms = masking.terms(instruction, size=len(instruction.adapter))
    return SecureServer(terms, roster=Roster(tuple(sorted(cohort))), directory=masking.directory_of())
