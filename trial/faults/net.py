"""Where the parts of the stage live: all on loopback, or each in a network namespace of its own.

A place is an address and what a command begins with to run there (trial/nodes.py: Place).
"""

from trial.nodes import LOOPBACK, Place


class Net:
    """Everything on loopback; nothing can be cut."""

    can_cut = False
    words = "all on loopback"

    def place(self, name: str) -> Place:
        return LOOPBACK

    def build(self) -> None:
        """Raises RuntimeError if it cannot be had."""

    def clear(self) -> None:
        """Nothing of it is left."""
