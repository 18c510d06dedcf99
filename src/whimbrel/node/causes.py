"""The likely cause of an alert: what the other figures of the same second say.

Four causes are told apart (docs/operations.md): a slow disk, a busy loop, one hot actor, a slow
reader; else more load than is served. tests/node/test_causes.py causes each of them.
"""

from whimbrel.node.samples import AlertSettings, Rule, Sample

HOT_PART = 0.5  # of everything that was served in a second
QUEUE_LONG = 100
TURN_LONG_MS = 100
CPU_LITTLE = 0.3  # of a core, while nothing was served: somebody else had it

OF_ONE_KIND = {
    "output_bytes": (
        "slow reader: this client reads more slowly than it is written to;"
        " it is held back, others are not"
    ),
    "window_percent": (
        "slow reader: this client does not confirm what it was sent;"
        " what is for it waits, others are not held up"
    ),
    "disk_free_mib": "what waits for people who do not come, media, or other programs",
    "certificate_days": "nobody has renewed it",
    "descriptors_percent": "many connections; raise the limit of open files",
    "memory_percent": "many connections or actors at once; or other programs of the same limit",
    "audit_findings": "see `whimbrel audit`: a restored backup, a damaged disk, or a bug",
    "inbox_messages": "its devices do not come; at the limit its oldest are trimmed",
}


def likely_cause(rule: Rule, sample: Sample, settings: AlertSettings) -> str:
    if rule.figure in OF_ONE_KIND:
        return OF_ONE_KIND[rule.figure]
    if rule.figure == "probe_failures":
        return sample.probe_trouble
    if rule.figure == "upgrades_undone":
        return sample.upgrade_trouble
    found = _of_the_loop(sample, settings) if rule.figure == "loop_lag_ms" else ""
    if not found and (rule.figure == "commit_ms" or 0 < settings.commit_ms <= sample.commit_ms):
        found = f"slow disk: a commit takes {sample.commit_ms:,.0f} ms"
    return found or _of_the_loop(sample, settings) or _of_the_load(sample)


def _of_the_loop(sample: Sample, settings: AlertSettings) -> str:
    at = f", at {sample.held_at}" if sample.held_at else ""
    if sample.turn_ms >= max(sample.loop_lag_ms / 2, TURN_LONG_MS):
        return f"busy loop: one turn took {sample.turn_ms:,.0f} ms{at}"
    if not 0 < settings.loop_lag_ms <= sample.loop_lag_ms:
        return ""
    held = f"busy loop: held up outside of turns for {sample.loop_lag_ms:,.0f} ms"
    if at:
        return held + at
    if sample.cpu_part < CPU_LITTLE:
        return (
            f"the process stood still for {sample.loop_lag_ms:,.0f} ms and got"
            f" {sample.cpu_part:.0%} of a core: another program, swapping, or a stopped machine"
        )
    return held


def _of_the_load(sample: Sample) -> str:
    if sample.mailbox_state:
        return f"the actor of {sample.mailbox_owner} {sample.mailbox_state}"
    if sample.mailbox_length >= max(sample.turn_queue_length / 2, 20):
        return (
            f"one hot actor: {sample.mailbox_length:,} messages are for {sample.mailbox_owner},"
            f" who gets {sample.hot_per_s:,.0f} a second"
        )
    busy = sample.turn_queue_length >= QUEUE_LONG
    if busy and sample.hot_per_s >= HOT_PART * sample.served_per_s > 0:
        return (
            f"one hot actor: {sample.hot_per_s:,.0f} of {sample.served_per_s:,.0f} messages"
            f" a second are for {sample.hot_owner}"
        )
    if sample.arrived_per_s > sample.served_per_s * 1.05:
        return (
            f"more comes in ({sample.arrived_per_s:,.0f} a second)"
            f" than is served ({sample.served_per_s:,.0f})"
        )
    return "load"
