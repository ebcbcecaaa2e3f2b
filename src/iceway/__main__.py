"""`python -m iceway`."""

from iceway.cli import main

main()
