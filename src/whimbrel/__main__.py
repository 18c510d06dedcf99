"""`python -m whimbrel` is `whimbrel`."""

from whimbrel.cli.main import main

main()
