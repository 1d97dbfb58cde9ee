"""Practice for the interview: a board to write on, and a check that names mistakes."""
