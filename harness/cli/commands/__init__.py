"""One file a command: its options, and the calls that carry it out. Heavy libraries load when one is called."""
