"""Exercises of loss curves (lesson 04)."""

from __future__ import annotations

from course_utils.exercises.checking import Exercise

EXERCISES: tuple[Exercise, ...] = ()
