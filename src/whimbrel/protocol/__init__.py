"""Bytes <-> messages, sans-I/O. No socket, no clock, no user."""
