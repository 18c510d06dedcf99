"""Tokens of FAST (XEP-0484): which client has which, when it ends, and how often it was used.

The token itself is a keyed hash of the account's key, the client and a serial, made at the edge;
here is only what makes it good: one serial a client, the one before it until the new one is used,
and the highest count, below which a login is a replay.
"""

import msgspec

from whimbrel.domain.effects import Effect, Push
from whimbrel.domain.im import TOKEN_LIVES_US, TokenDone, TokenNew, TokenUse
from whimbrel.domain.rows import DocumentRow
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import Token, User
from whimbrel.domain.wants import DocumentWant, NotLoaded

DOCUMENT = "tokens"
TOKENS_MAX = 16  # clients of an account that have one; the oldest goes
RENEWED_US = TOKEN_LIVES_US // 3  # so old, a token that is used is replaced


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[Token, ...]).decode


def need_tokens(user: User) -> dict[str, Token]:
    """By client, or NotLoaded."""
    want = DocumentWant(user.number, DOCUMENT)
    if want not in user.loaded:
        raise NotLoaded(want)
    row = user.loaded.pop(want)
    tokens = _unpack(row.body) if isinstance(row, DocumentRow) else ()
    return {each.agent: each for each in tokens}


def serials(user: User) -> tuple[tuple[str, int], ...]:
    """(client, serial) of all that may be good."""
    found = need_tokens(user).values()
    return tuple(
        (each.agent, serial) for each in found for serial in (each.serial, each.older) if serial
    )


def _keep(user: User, tokens: dict[str, Token], turn: Turn) -> Effect:
    kept = sorted(tokens.values(), key=lambda each: each.serial)[-TOKENS_MAX:]
    return DocumentRow(user.number, DOCUMENT, turn.now_us, _pack(kept))


def on_token_new(user: User, m: TokenNew, turn: Turn) -> list[Effect]:
    if not user.exists:
        return [Push(m.session, TokenDone("unknown"))]
    tokens = need_tokens(user)
    known = tokens.get(m.agent)
    serial = max(turn.now_us, known.serial + 1 if known is not None else 0)
    tokens[m.agent] = Token(m.agent, serial)
    return [_keep(user, tokens, turn), Push(m.session, TokenDone("", serial))]


def on_token_use(user: User, m: TokenUse, turn: Turn) -> list[Effect]:
    tokens = need_tokens(user)
    token = tokens.get(m.agent)
    if token is None or m.serial not in (token.serial, token.older):
        return [Push(m.session, TokenDone("unknown"))]
    if m.serial + TOKEN_LIVES_US <= turn.now_us:
        return [Push(m.session, TokenDone("expired"))]
    newest = m.serial == token.serial
    last = token.count if newest else token.older_count
    if m.count and m.count <= last:
        return [Push(m.session, TokenDone("replayed"))]
    count = max(m.count, last)
    told = 0
    if m.forget:
        del tokens[m.agent]
    elif not newest:  # it has not heard of the new one: it is told again
        tokens[m.agent] = msgspec.structs.replace(token, older_count=count)
        told = token.serial
    elif m.renew or m.serial + RENEWED_US <= turn.now_us:
        told = max(turn.now_us, token.serial + 1)
        tokens[m.agent] = Token(m.agent, told, 0, token.serial, count)
    else:
        tokens[m.agent] = Token(m.agent, token.serial, count)
    return [_keep(user, tokens, turn), Push(m.session, TokenDone("", told))]
