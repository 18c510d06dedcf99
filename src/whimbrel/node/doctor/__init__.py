"""The doctor: looks at an installation and says what is wrong, how bad, and what to do.

One file a subject; each has a function from a Patient to Findings. cli/doctor.py shows them. Law:
nothing is changed, and nothing needs a running server or the network: what cannot be asked is said.
"""
