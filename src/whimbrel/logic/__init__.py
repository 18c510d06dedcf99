"""The rules: pure functions `handle(state, message, turn) -> effects`, replaceable at run time."""
