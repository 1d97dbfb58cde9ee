"""Exercises of LoRA (lesson 02)."""

from __future__ import annotations

from course_utils.exercises.checking import Exercise

EXERCISES: tuple[Exercise, ...] = ()
