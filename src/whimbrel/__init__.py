"""Whimbrel: a messenger server whose check marks can be trusted."""

__version__ = "0.1.0"
