"""`giftbench`, and `python -m harness.cli`. Workers import this module, as they do that of every program, and nothing with it."""


def main() -> None:
    """Run the command line."""
    from harness.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
