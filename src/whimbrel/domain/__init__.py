"""The words everybody shares: ids, messages, rows, effects, errors, limits, ports.

Imports nothing of ours, and no clock, socket, chance or database.
"""
