"""The shell: configuration, assembly (read assemble.py first), the interpreter, main."""
