"""Preference tuning and rewards that a program computes (lesson 10)."""
