"""Tests of the stores: suite for both, then what only SQLite can do."""
