"""Logging in: one SASL exchange of a stream, whatever it is framed in.

PLAIN inside TLS, SCRAM-SHA-1, -256 and -512, and their -PLUS forms where the channel can be bound
(RFC 6120 section 6; XEP-0388 frames it otherwise). The password is the key that sign-up gave, of
any of the account's devices. Law: an account that does not exist is asked and refused like any.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from whimbrel.domain import im
from whimbrel.domain.errors import BadAddress
from whimbrel.domain.ids import account_number, parse_address
from whimbrel.edge.session import BUSY_RETRY_S
from whimbrel.protocol.sasl.failures import SaslFailure
from whimbrel.protocol.sasl.plain import Claim, read_plain
from whimbrel.protocol.sasl.scram import ITERATIONS_MIN, Scram, derive
from whimbrel.protocol.sasl.verifiers import Kept, read_kept

if TYPE_CHECKING:
    from whimbrel.edge.xmpp.hub import Hub

SCRAMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1")
HTS = ("HT-SHA-256-ENDP", "HT-SHA-256-NONE")  # draft-schmaus-kitten-sasl-ht, for FAST
NOT_TAKEN_S = 1.5  # for which a question that is not taken is offered again
BINDINGS = ("tls-exporter", "tls-unique", "tls-server-end-point")


class TokenUsed(NamedTuple):
    """What a client says beside its token; see im.TokenUse."""

    times: int = 0
    forget: bool = False
    renew: bool = False


class Login:
    """`say`: sends a challenge; `succeed`: (address, account, device,
    hash of its key, last data); `fail`."""

    def __init__(
        self,
        hub: Hub,
        network: str,
        number: int,
        secure: bool,
        bindings: dict[str, bytes],
        say: Callable[[bytes], None],
        succeed: Callable[[str, int, int, bytes, bytes], None],
        fail: Callable[[SaslFailure], None],
    ) -> None:
        self._hub = hub
        self._network = network
        self._number = number
        self._secure = secure
        self._bindings = bindings
        self._say = say
        self._succeed = succeed
        self._fail = fail
        self._mechanism = ""
        self._scram: Scram | None = None
        self._claim: Claim | None = None
        self._address = ""
        self._account = 0
        self._again_s = 0.0
        self._kept: list[tuple[int, bytes, Kept]] = []
        self._proof_of_token = b""
        self._found: tuple[int, bytes, bytes] | None = None  # whose token it is, and our proof
        self.agent = ""  # the client's own id (XEP-0388 section 2.3.1), hashed
        self.use = TokenUsed()
        self.renewed = 0  # serial of a new token
        # 0: idle, 1: first message wanted, 2: keys wanted, 3: proof wanted, 4: token looked at
        self._step = 0

    @property
    def mechanisms(self) -> list[str]:
        """Best first."""
        plus = [f"{name}-PLUS" for name in SCRAMS] if self._bindings else []
        return [*plus, *SCRAMS, *(["PLAIN"] if self._secure else [])]

    @property
    def token_mechanisms(self) -> list[str]:
        """Those of FAST, for clients that come back."""
        return [name for name in HTS if name.endswith("NONE") or self._bindings]

    @property
    def by_token(self) -> bool:
        return self._mechanism in HTS

    @property
    def under_way(self) -> bool:
        return self._step > 0

    @property
    def waits(self) -> bool:
        return self._step in (2, 4)

    def start(self, mechanism: str, first: bytes | None) -> None:
        if self._step:
            self._failed(SaslFailure("malformed-request", "one exchange at a time"))
            return
        known = self.mechanisms + (self.token_mechanisms if self.agent else [])
        if mechanism not in known:
            self._failed(SaslFailure("invalid-mechanism"))
            return
        self._mechanism = mechanism
        self._step = 1
        if first is None:
            self._say(b"")
        else:
            self.go_on(first)

    def go_on(self, data: bytes) -> None:
        """The client's next message."""
        try:
            if self._step == 1:
                self._first(data)
            elif self._step == 3:
                self._proof(data)
            else:
                raise SaslFailure("malformed-request")
        except SaslFailure as failure:
            self._failed(failure)

    def abort(self) -> None:
        self._failed(SaslFailure("aborted"))

    def _first(self, data: bytes) -> None:
        if self._mechanism in HTS:
            name, self._proof_of_token = _split_token(data)
            authzid = ""
        elif self._mechanism == "PLAIN":
            self._claim = read_plain(data)
            name, authzid = self._claim.authcid, self._claim.authzid
        else:
            plus = self._mechanism.endswith("-PLUS")
            hash = self._mechanism.removeprefix("SCRAM-").removesuffix("-PLUS")
            nonce = secrets.token_urlsafe(24)
            self._scram = Scram(hash, plus, self._bindings, bool(self._bindings), nonce)
            name = self._scram.read_first(data)
            authzid = self._scram.authzid
        self._address = self._named(name)
        if authzid and authzid != f"{self._address}@{self._hub.domain}":
            raise SaslFailure("invalid-authzid")
        self._account = account_number(self._address)
        edge = self._hub.edge
        if not edge.may_log_in(self._network, self._account):
            edge.counts["refused:rate-limited"] += 1
            raise SaslFailure("temporary-auth-failure", "too many logins of late")
        if not edge.ready():
            raise SaslFailure("temporary-auth-failure")
        self._step = 2
        self._ask_for_keys(edge.now_s + NOT_TAKEN_S)

    def _ask_for_keys(self, end_s: float) -> None:
        """Among several nodes an account may have no owner for a moment."""
        if self._step != 2:
            return
        edge = self._hub.edge
        self._again_s = edge.now_s + edge.limits.resend_first_s
        if edge.router.tell(self._account, im.Credentials(self._number, self._mechanism in HTS)):
            return
        if edge.now_s >= end_s:
            self._failed(SaslFailure("temporary-auth-failure"))
        else:
            edge.later(BUSY_RETRY_S, lambda: self._ask_for_keys(end_s))

    def sweep(self, now_s: float) -> None:
        """A question may get lost between nodes, or be for an owner who has just died."""
        if self._step == 2 and now_s >= self._again_s:
            self._ask_for_keys(now_s + NOT_TAKEN_S)

    def _named(self, name: str) -> str:
        """The account that a name means: its local part, or its whole JID."""
        local, at, domain = name.rpartition("@")
        if at and domain.lower() == self._hub.domain:
            name = local
        try:
            return parse_address(name)
        except BadAddress:
            return name  # nobody has it, which is told at the end like any wrong key

    def on_keys(self, keys: im.Keys) -> None:
        if self._step != 2:
            return
        try:
            if self._mechanism in HTS:
                self._check_token(keys)
            elif self._claim is not None:
                self._check_plain(self._claim, keys)
            else:
                self._challenge(keys)
        except SaslFailure as failure:
            self._failed(failure)

    def _check_plain(self, claim: Claim, keys: im.Keys) -> None:
        hashed = sha256(claim.password.encode()).digest()
        for device, key_hash, scram in keys.keys:
            if hmac.compare_digest(hashed, key_hash):
                if not scram:
                    self._keep(device, key_hash, claim.password)
                self._done(device, key_hash, b"")
                return
        for device, key_hash, scram in keys.keys:  # a password that was chosen by a person
            kept = read_kept(scram)
            if kept is not None and "SHA-256" in kept.keys:
                found = derive(claim.password, kept.salt, kept.iterations, "SHA-256")
                if hmac.compare_digest(found.stored_key, kept.keys["SHA-256"][0]):
                    self._done(device, key_hash, b"")
                    return
        raise SaslFailure("not-authorized")

    def _check_token(self, keys: im.Keys) -> None:
        """HMAC(token, "Initiator" and what binds the channel); the answer proves us likewise."""
        bound = b""
        if self._mechanism.endswith("ENDP"):
            bound = self._bindings["tls-server-end-point"]
        for device, key_hash, _ in keys.keys:
            for agent, serial in keys.tokens:
                if agent != self.agent:
                    continue
                token = self._hub.fast_token(self._address, key_hash, agent, serial).encode()
                wanted = hmac.digest(token, b"Initiator" + bound, "sha256")
                if hmac.compare_digest(wanted, self._proof_of_token):
                    answer = hmac.digest(token, b"Responder" + bound, "sha256")
                    self._found = (device, key_hash, answer)
                    self._use(serial)
                    return
        raise SaslFailure("not-authorized")

    def _use(self, serial: int) -> None:
        """It counts when that is committed."""
        use = self.use
        told = im.TokenUse(self._number, self.agent, serial, use.times, use.forget, use.renew)
        if not self._hub.edge.router.tell(self._account, told):
            raise SaslFailure("temporary-auth-failure")
        self._step = 4

    def on_token(self, done: im.TokenDone) -> None:
        if self._step != 4 or self._found is None:
            return
        if done.code:
            expired = done.code == "expired"
            self._failed(SaslFailure("credentials-expired" if expired else "not-authorized"))
            return
        self.renewed = done.serial
        self._done(*self._found)

    def _keep(self, device: int, key_hash: bytes, password: str) -> None:
        """A key of before this server spoke SASL: next time it may come by SCRAM."""
        kept = self._hub.edge.keep(self._address, password)
        message = im.KeepVerifiers(self._number, device, key_hash, kept)
        self._hub.edge.router.tell(self._account, message)

    def _challenge(self, keys: im.Keys) -> None:
        assert self._scram is not None
        salt = b""
        for device, key_hash, scram in keys.keys:
            kept = read_kept(scram)
            if kept is not None and kept.iterations == ITERATIONS_MIN:
                salt = salt or kept.salt  # the server's secret may have changed since
                if kept.salt == salt:
                    self._kept.append((device, key_hash, kept))
        salt = salt or self._hub.salt(self._address)
        self._step = 3
        self._say(self._scram.challenge(salt, ITERATIONS_MIN))

    def _proof(self, data: bytes) -> None:
        assert self._scram is not None
        hash = self._mechanism.removeprefix("SCRAM-").removesuffix("-PLUS")
        verifiers = [kept.verifier(hash) for _, _, kept in self._kept]
        at, final = self._scram.read_final(data, verifiers)
        self._done(*self._kept[at][:2], final)

    def _done(self, device: int, key_hash: bytes, final: bytes) -> None:
        self._step = 0
        self._succeed(self._address, self._account, device, key_hash, final)

    def _failed(self, failure: SaslFailure) -> None:
        if self._step in (2, 3, 4) and failure.condition == "not-authorized":
            self._hub.edge.login_failed(self._network, self._account)
        self._step = 0
        self._scram = self._claim = None
        self._kept = []
        self._fail(failure)


def _split_token(data: bytes) -> tuple[str, bytes]:
    """authcid NUL initiator-hashed-token."""
    name, separator, proof = data.partition(b"\0")
    try:
        text = name.decode()
    except UnicodeDecodeError:
        raise SaslFailure("malformed-request") from None
    if not text or not separator or len(proof) != 32:
        raise SaslFailure("malformed-request")
    return text, proof
