"""`python -m cli` is `ics`."""

from cli.main import main

main()
