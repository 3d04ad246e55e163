"""Run as ``python -m nissl.cli``."""

from nissl.cli import main

main()
