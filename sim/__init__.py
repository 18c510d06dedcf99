"""The world in one process: network, disks, clocks, people and faults; one seed, one verdict.

The production code runs here unchanged: engine, rules, interpreter, sessions, codecs, and the
memory store with the commit semantics of the real ones. Only sockets, disks and time are
played. Read world.py first; `python -m sim --help` runs it.
"""
