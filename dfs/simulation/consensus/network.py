"""Links between members: delay, loss, doubles, overtaking, and cuts of single directions."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from attrs import evolve

from dfs.raft.codec import decode_message, encode_message
from dfs.raft.messages import Message
from dfs.simulation.consensus.agenda import Agenda
from dfs.simulation.consensus.plan import Wires

LATE_SHARE = 0.02
Packet = tuple[str, str, Message]


class Network:
    """See the module.

    :ivar wires: how it behaves now.
    :ivar cut: directed links that lose everything, what is under way included.
    :param arrive: gets each (sender, receiver, message) that comes through.
    """

    def __init__(self, agenda: Agenda, chance: Random, wires: Wires, arrive: Callable[[Packet], None]) -> None:
        self.wires = wires
        self.cut: set[tuple[str, str]] = set()
        self.lost = 0
        self.doubled = 0
        self._agenda = agenda
        self._draw = chance.random
        self._arrive = arrive
        self._latest: dict[tuple[str, str], int] = {}

    def send(self, sender: str, to: str, message: Message) -> None:
        """Put a message on its way."""
        wires, draw = self.wires, self._draw
        if self.cut and (sender, to) in self.cut:
            return
        if wires.loss and draw() < wires.loss:
            self.lost += 1
            return
        if wires.encoded:
            message = decode_message(encode_message(message))
        delay = wires.least + int(draw() * (wires.spread + 1))
        if wires.late and draw() < LATE_SHARE:
            delay += int(draw() * wires.late)
        if wires.in_order:
            link = sender, to
            moment = max(self._agenda.now + delay, self._latest.get(link, 0))
            self._latest[link] = moment
            delay = moment - self._agenda.now
        packet = (sender, to, message)
        self._agenda.after(delay, self._deliver, packet)
        if wires.double and draw() < wires.double:
            self.doubled += 1
            self._agenda.after(delay + int(draw() * (wires.spread + wires.late + 1)), self._deliver, packet)

    def heal(self) -> None:
        """Every link is whole and quick; what is late no longer holds up what follows it."""
        self.cut.clear()
        self._latest.clear()
        self.wires = evolve(self.wires, loss=0.0, late=0, double=0.0, least=1, spread=4)

    def _deliver(self, packet: Packet) -> None:
        if not self.cut or packet[:2] not in self.cut:
            self._arrive(packet)
