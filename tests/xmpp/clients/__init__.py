"""Clients that others wrote, against a real server in a process of its own."""
