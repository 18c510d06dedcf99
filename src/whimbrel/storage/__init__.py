"""The store port made real: `sqlite` for one machine, `memory` for tests and the simulator.

Both pass the suite in tests/storage. Start reading at sqlite.py. Imports domain only.
Law: a batch is written wholly or not at all, and `done` is called after the fsync.
"""
