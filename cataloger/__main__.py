"""`python -m cataloger` is the command `cataloger`."""

from cataloger.cli import app

app.main()
