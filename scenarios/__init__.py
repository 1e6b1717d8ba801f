"""The scenarios that ship with giftbench, one file each; `harness` finds them by entry point."""
