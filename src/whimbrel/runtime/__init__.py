"""Actors in general: one queue, turns, batches, timers, supervision. Knows no messenger."""
