"""The three projects, each whole in one folder."""
