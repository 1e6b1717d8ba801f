"""The leaderboard room: records in, tables out. Nothing here trains, and nothing here imports torch."""
