"""Every bound of the server, by name. Law 5: all of them end in a refusal that is heard.

Units stand last in a name: `_bytes`, `_s`, `_us`, `_max`, `_per_s`.
"""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Read once from the configuration, passed down, never imported as a value."""

    # frames and connections
    frame_bytes_max: int = 65_536
    body_bytes_max: int = 49_152
    hello_bytes_max: int = 1_024  # largest frame before a hello was accepted
    hello_timeout_s: float = 10.0
    idle_ping_s: float = 60.0  # silence after which the server pings
    idle_timeout_s: float = 150.0  # silence after which the connection is dead
    out_buffer_bytes_max: int = 1_048_576  # unsent bytes after which a reader is too slow
    connections_max: int = 50_000
    connections_per_address_max: int = 1_000
    unauthenticated_max: int = 2_000  # connections that have not said hello, all addresses
    logins_per_address_per_minute: int = 6_000
    failed_logins_per_address_per_minute: int = 60
    failed_logins_per_account_per_minute: int = 20
    frames_per_s: int = 2_000  # per connection, sustained; burst is twice that
    bytes_per_s: int = 4_194_304  # per connection, sustained; burst is twice that
    # device <-> actor
    submits_open_max: int = 64  # unanswered submits of a session, then it stops reading
    window_items_max: int = 256  # unconfirmed items in flight to a device
    window_bytes_max: int = 262_144  # and their bytes; one item always fits
    devices_max: int = 8
    resend_first_s: float = 2.0  # session -> actor, doubles up to resend_max_s
    resend_max_s: float = 30.0
    reattach_s: float = 60.0
    rewind_s: float = 60.0  # items unconfirmed for so long are sent again from `confirmed`
    # XMPP
    stanza_bytes_max: int = 262_144  # of a client that is logged in
    unauthenticated_bytes_max: int = 10_240  # of a stanza before the login
    resources_max: int = 16  # XMPP clients of one account at a time
    resume_s: int = 600  # how long a session waits for its client (XEP-0198)
    resume_items_max: int = 2_000  # stanzas that wait in it, then it ends and messages wait
    roster_items_max: int = 2_000
    document_bytes_max: int = 131_072  # a vCard, one element of private storage
    documents_bytes_max: int = 1_048_576  # all of an account
    documents_max: int = 200
    archive_s: int = 0  # how long messages are kept for XEP-0313; 0: wiped when confirmed
    archive_page_max: int = 100  # messages of one answer
    # actor <-> actor
    open_per_peer_max: int = 32  # oldest open rows under way to one peer
    open_per_account_max: int = 10_000  # open rows of a sender, then submit answers busy
    retry_first_s: float = 0.5
    retry_max_s: float = 300.0
    deliver_deadline_s: int = 30 * 86_400
    deadline_grace_s: int = 3_600  # the sender gives up this long after the deadline
    # inbox and ledger
    inbox_messages_max: int = 10_000
    trim_slice: int = 100  # messages trimmed at once when the cap is met
    inbox_expiry_s: int = 30 * 86_400
    audit_every_s: int = 300  # reconcile the ledger of all messages; 0: never
    ledger_s: int = 30 * 86_400  # how long a message's metadata outlives its final state
    device_idle_s: int = 30 * 86_400
    read_rows_max: int = 256  # rows of one read from the store
    # people
    new_contacts_per_hour: int = 60  # first messages to addresses never written to
    watchers_max: int = 256  # who may watch one account's presence at a time
    watch_s: int = 300
    # engine
    mailbox_max: int = 1_000  # requests waiting for one actor, then busy
    turn_messages_max: int = 1_000
    queue_max: int = 200_000  # messages waiting for any actor, then busy
    batch_rows_max: int = 20_000  # rows gathered behind a running commit, then turns wait
    actors_max: int = 250_000  # in memory; the longest idle sleep first
    actor_idle_s: float = 120.0
    restart_intensity: int = 20  # crashes of one actor in restart_window_s, then it is paused
    restart_window_s: float = 60.0
    restart_pause_s: float = 30.0
    dead_letters_max: int = 10_000
