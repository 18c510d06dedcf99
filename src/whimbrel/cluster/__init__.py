"""Several nodes: who owns which shard (ports.py first), and how they talk to each other."""
