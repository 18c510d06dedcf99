"""A sign-up desk with a clock that stands still, rows that outlive it, and nothing else."""

from hashlib import sha256

from whimbrel.domain.answers import PinRefused, PinRequested, ToSession
from whimbrel.domain.desk import Desk, SignupLimits
from whimbrel.domain.effects import Effect, Reply, SendPin, Tell
from whimbrel.domain.ids import ACTOR_DESK
from whimbrel.domain.limits import Limits
from whimbrel.domain.messages import Alarm, PinNotSent, RequestPin, ToActor, VerifyPin
from whimbrel.domain.rows import CounterRow, CountersGone, SignupGone, SignupRow
from whimbrel.domain.turn import Turn
from whimbrel.domain.wants import DeskRows
from whimbrel.logic import desk as rules

DAY_S = 86_400
MORNING_US = 20_000 * DAY_S * 1_000_000 + 3_600 * 1_000_000  # one hour into a day of UTC
ALICE, BOB = "+4915112345678", "+4915187654321"
HOME = "192.0.2.1"


def hash_of(pin: str) -> bytes:
    return sha256(pin.encode()).digest()


class DeskWorld:
    def __init__(self, limits: SignupLimits | None = None) -> None:
        self.limits = limits or SignupLimits()
        self.now_us = MORNING_US
        self.signups: dict[str, SignupRow] = {}
        self.counters: dict[str, CounterRow] = {}
        self.effects: list[Effect] = []
        self.desk = self._load()

    def _load(self) -> Desk:
        desk = rules.new(ACTOR_DESK)
        desk.limits = self.limits
        rows = DeskRows(list(self.signups.values()), list(self.counters.values()))
        rules.fill(desk, rows)
        return desk

    def restart(self) -> None:
        """All that is left is what was written."""
        self.desk = self._load()

    def later(self, seconds: float) -> None:
        self.now_us += int(seconds * 1_000_000)

    def say(self, message: ToActor) -> list[Effect]:
        turn = Turn(self.now_us, self.now_us - MORNING_US, Limits())
        self.effects = rules.HANDLERS[type(message)](self.desk, message, turn)  # type: ignore[operator]
        for effect in self.effects:
            self._write(effect)
        return self.effects

    def _write(self, effect: Effect) -> None:
        if isinstance(effect, SignupRow):
            self.signups[effect.number] = effect
        elif isinstance(effect, SignupGone):
            del self.signups[effect.number]
        elif isinstance(effect, CounterRow):
            self.counters[effect.key] = effect
        elif isinstance(effect, CountersGone):
            self.counters = {k: row for k, row in self.counters.items() if row.day >= effect.day}

    # ---- what people do ------------------------------------------------------------------

    def request(
        self, number: str = ALICE, pin: str = "12345", client: str = HOME, prefix: str = "+49"
    ) -> PinRequested:
        self.say(RequestPin(number, prefix, client, pin, hash_of(pin), 7))
        answer = self._reply()
        assert isinstance(answer, PinRequested)
        return answer

    def verify(self, pin: str, number: str = ALICE, client: str = HOME) -> str:
        """ "" if the PIN was right, else the code of the refusal."""
        self.say(VerifyPin(number, client, hash_of(pin), b"k" * 32, "phone", 8))
        if any(isinstance(effect, Tell) for effect in self.effects):
            return ""
        answer = self._reply()
        assert isinstance(answer, PinRefused)
        return answer.code

    def not_sent(self, number: str = ALICE) -> None:
        self.say(PinNotSent(number))

    def alarm(self) -> None:
        self.say(Alarm())

    def sent(self) -> list[tuple[str, str]]:
        return [(e.number, e.pin) for e in self.effects if isinstance(e, SendPin)]

    def _reply(self) -> ToSession:
        (reply,) = [effect for effect in self.effects if isinstance(effect, Reply)]
        return reply.answer
