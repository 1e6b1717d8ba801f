"""`python -m harness.cli` is `giftbench`."""

from harness.cli.main import main

main()
