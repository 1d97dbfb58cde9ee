"""Exercises of what a model weighs (lessons 00 and 01)."""

from __future__ import annotations

from course_utils.exercises.checking import Exercise

EXERCISES: tuple[Exercise, ...] = ()
