"""The prose of docs/protocol.md: what the types cannot say. Section numbers are quoted in code."""

INTRODUCTION = """# The Whimbrel protocol, version 1

For people who write a client. Made from the code of the server (`make docs`); where this page
and the server differ, that is a bug of the server.

## 1. Transport

1.1 A client opens TCP to the native port (7443 by default), speaks TLS 1.3 with the ALPN name
`whimbrel/1`, and checks the certificate: by an authority, or by the SHA-256 fingerprint that
sign-up has told (trust on first use).

1.2 Both sides send frames: four bytes of length, big-endian, then that many bytes, which are
one message: a MessagePack array. A length of 0, or above the limit (section 6), ends the
connection with a named error.

1.3 In a browser the same arrays go as JSON text, one message in one WebSocket text message (in as
many fragments as you like). This page shows both forms. Everything else is the same: limits,
answers, numbers. A body is JSON there and keeps its meaning, not its bytes.

- **Address:** `GET /v1/socket` on the HTTPS port (8443 by default; on HTTP only for programs and
  pages on the same machine), so `wss://chat.example.org:8443/v1/socket`. Same origin and same
  certificate as the pages: a browser that opened them can connect.
- **Subprotocol:** `whimbrel.1`; it must be asked for, and is answered. No extension (compression)
  is taken.
- **Origin:** a request that has one must come from a page of the same host and port, or from an
  origin in the server's list (`web.origins`). Programs send none.
- **Refusals** before the WebSocket stands are HTTP answers: 426 `upgrade-required`, 400
  `bad-message`, 403 `wrong-origin`, 503 `too-many-connections` or `shutting-down`, with the usual
  JSON body. A script in a page does not see them; it tries again with back-off.
- **The end:** every end that the server chooses is said twice, as an Error or Replaced message and
  then as a close code (section 7). Answer the close frame, as browsers do. A close frame of yours
  counts as Bye.
- **Ping:** ping frames are answered with pong frames; a page, which cannot send those, uses Ping
  and answers the server's Ping with Pong (4.11).
- Only text messages; a binary one ends the connection with `bad-frame` and 1003.

1.4 Text is UTF-8. Integers are between 0 and 2^53 - 1, so that JavaScript can hold them. Times are
microseconds since 1970 (UTC).

## 2. Versions

2.1 The hello names the version, 1. A server that does not speak it answers
`unsupported-version`.

2.2 Within a version, fields are only added at the end of an array, with a default. A reader
ignores elements that it does not know, and takes the default for those that are missing. New
messages get new numbers; a client ignores a number that it does not know, except that an unknown
item (section 4.4) still counts: its `prev` and `q` are always the first two fields.

2.3 A body (section 4.3) is a map; unknown keys are kept and passed on.

## 3. Names and numbers

3.1 An **address** is a phone number in E.164 form (`+4915112345678`) or a name (`alice`: a-z, 0-9,
`.`, `_`, `-`, beginning with a letter, at most 64 characters; capitals are folded).

3.2 An account has **devices**, numbered from 1; a number is never used again. A device's **key** is
shown once, at sign-up or when it is linked; it is the password of every login.

3.3 Four numbers, each with one purpose:

| number | given by | grows | for |
|---|---|---|---|
| `c` | the device: 1, 2, 3 ... | by one per submit | to submit again without a second copy |
| `id` | the server | per sender; also the time of acceptance | marks: "up to this id" |
| `q` | the server | per account, with gaps | items: "everything up to q" |
| `era` | the server | with every restore from a backup | the scope of the other three |

3.4 The **identity** of a message is (sender's address, sender's device, `c`). A client that shows
nothing twice by identity is safe in every case, also after a restore.
"""

DIALOGUE = """
## 4. The dialogue

### 4.1 Hello and resume

The device speaks first: Hello with its account, device number, key, and `last`, the highest `q`
it has stored (0 at first), and the `era` of that number. Nothing else is taken before the
Welcome. The Welcome tells the highest `c` that was taken (`submitted`) and the highest `q` that
was confirmed.

After the Welcome a client, in this order: (a) if `era` is another one than it knows, does what
4.9 says; (b) if it has stored more than `confirmed`, confirms again; (c) submits everything that
is unanswered again, under the same numbers, in order; (d) goes on from
`c = max(its own, submitted) + 1`.

Items that wait then come by themselves (4.4), and after them EndOfQueue.

### 4.2 Submit

Submit carries `c`, the recipient's address and the body. Each `c` has an answer of its own, not
necessarily in order:

| answer | meaning | `c` is |
|---|---|---|
| Stored(c, id) | on disk: the first check mark | used up |
| Refused `busy`, `rate-limited`, `try-again` | not now | free: send the same again later |
| Refused `gap(expected)` | a number was skipped | free: go on from `expected` |
| Refused `number-used` | `c` belongs to another message (a cloned device) | not yours: renumber |
| Refused `too-old` | `c` was used long ago | used up |
| Refused with any other code | never | used up |

Submitting the same message under the same `c` again is always safe: it gets the same answer and
makes no second copy. At most `submits_max` submits may be unanswered; the server stops reading
beyond that.

After a permanent refusal of `c` the next submit is `c + 1`. Messages of one device to one peer are
delivered in the order of `c`.

### 4.3 Bodies

A body is a map with text keys. The server checks the keys it knows, and that everything in it can
be said in JSON (no binary, no extension types, finite numbers, integers within 2^53, at most 16
levels); it passes the rest on untouched.

| key | type | meaning |
|---|---|---|
| `text` | text | what people read; also the fallback for kinds of content a client does not know |
| `reply` | [address, device, c] | the identity of the message that this one answers |
| `sealed` | text | an end-to-end encrypted payload in Base64; the server sees nothing of it |
| `media` | map | a file: what the upload has told, see below |

`media` has `link`, `size` (bytes) and `type`, and may have `name`, `sha256` (hex), `width` and
`height` (pixels), `duration` (seconds), `thumbnail` (Base64 of a JPEG or WebP picture of at most
8,192 bytes) and `blur` (a [BlurHash](https://blurha.sh)). `link` begins with `/m/` (a file on the
server that you talk to) or with `https://`, and has at most 512 characters. How a file is
uploaded and downloaded is told in [media.md](media.md).

### 4.4 Items

Everything that a device has to learn comes as items, in one sequence per account: Message, Copy,
Receipt, Failed, Trimmed. Each begins with `prev` and `q`: `prev` is the item sent before this one.

For every item a client (a) drops it if `q` is not above `last`; (b) if `prev` is above its `last`,
has missed something: it reconnects; (c) **stores the item and `q` together**, then (d) shows it,
then (e) confirms. After a crash between (c) and (e) it confirms again (4.1).

At most `window_items_max` items are on the way unconfirmed, so a client that never confirms gets
no more; one with 100,000 waiting messages gets them in slices.

### 4.5 Confirm

Confirm(q) says: everything up to q is stored and shown. It is cumulative and has no answer;
repeating it is harmless. It is what makes the second check mark, and when every device of the
account has confirmed a message, its body is wiped from the server. A client may wait a moment and
confirm several items at once.

### 4.6 Marks

Receipt(peer, delivered, read) says that everything you sent to `peer` with an id up to `delivered`
has been confirmed by a device of theirs (two marks), and up to `read` was read (blue). Both only
grow. A newer receipt about the same peer replaces an older one that you have not had yet.

Read(peer, id) tells that your person has read everything from `peer` up to `id`. It is answered by
ReadDone with the mark as it stands on disk; it counts only for messages that your account has
confirmed, so confirm first. Repeat it after a reconnect until the answer has come.

### 4.7 What does not arrive

Failed tells that a message which had its first mark will not get its second one: `expired` (nobody
collected it in time), `trimmed` (too many waited for the recipient), `undeliverable`,
`unknown-recipient` (the account was deleted meanwhile). With `first` above 0 it speaks of all your
messages to that peer with `first <= id <= id of the item` that have no second mark.

Trimmed tells the recipient's side: messages among the items `first..last` were removed before this
device came, and why. What was removed stays known to its sender.

Blocking is not told: someone you block sees one check mark for ever.

### 4.8 Devices of one account

Link asks for a further device; Linked tells its number and key, once. The new device gets
everything that still waits for any device. What one device sends comes to all of the account as
Copy; the device that sent it gets it with the body `null`, only so that the sequence has no gap.
Unlink removes a device: its session hears Replaced, its key is worthless.

A new **sign-up** of the same number removes all devices at once.

### 4.9 After a restore

A server that was restored from a backup has forgotten what came after it. The Welcome's `era`
tells. The client then forgets `last`; submits every message it has kept with `c` above `submitted`
again, under its old `c` (keep your last 1,000, also those that were delivered); and shows no
message whose `c` is not above the highest one it has shown from that (account, device).

### 4.10 Ephemeral things

Typing and presence are never stored and may be lost. Typing is shown between people of whom at
least one has written to the other. Watch asks for a peer's presence for five minutes; repeat it
while you need it. You see the presence only of people who have written to you and have not blocked
you; otherwise there is no answer, also for addresses that do not exist.

Hide(on) makes that nobody sees when you are online or were last seen, and you see it of nobody
else. It holds for the account and lasts: all its devices hear it at once, and after each Welcome
while it is on.

### 4.11 Silence and the end

Either side may send Ping; the other answers Pong with the same number. The server pings after
`ping_s` of silence. Bye ends a session politely.

Replaced means that another session of the same device, or a new sign-up, has taken over: stop, and
do not reconnect by yourself. Error with `fatal` closes the connection; otherwise it tells that the
command named in `about` was refused.

### 4.12 What a client keeps

On disk, before it acts on it: account, device, key, fingerprint; the next `c`, and every submit
without an answer; its last 1,000 sent messages; `last` and `era`, together with each item; the
highest `c` shown per (account, device).
"""

SIZES = """
## 8. Sizes

A text of 20 characters to a phone number, frame included, before TLS (which adds 22 bytes a
record; frames sent together share one):

| what | bytes | of which not text |
|---|---|---|
| Submit | {submit} | {submit_overhead} |
| Message | {message} | {message_overhead} |
| Stored | {stored} | |
| Confirm | {confirm} | |
| Receipt | {receipt} | |

The goal is an overhead of at most 60 bytes.
"""
