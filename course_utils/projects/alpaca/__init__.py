"""Mistral on Alpaca: short instructions, judged by a program."""
