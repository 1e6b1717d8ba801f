"""A leaderboard as one HTML file that asks nobody for anything: opened from disk, sorted, filtered, cited."""
