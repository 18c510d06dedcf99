"""A whole cluster on one machine, for trying it out and for tests. Nothing of it is installed."""
