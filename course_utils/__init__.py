"""Helpers of the fine-tuning course. Import the module you need.

Only `models` imports unsloth (15 seconds), so everything else starts at once.
"""


class CourseError(Exception):
    """Base of every exception that the course itself raises.

    Subclasses also derive from the built-in kind that fits (ValueError, RuntimeError),
    so that both `except CourseError` and the usual clauses catch them.
    """
