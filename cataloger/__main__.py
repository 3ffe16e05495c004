"""`python -m cataloger` is the command `cataloger`."""

from cataloger.cli.app import main

main()
