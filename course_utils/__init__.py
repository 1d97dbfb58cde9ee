"""Helpers of the fine-tuning course. Import the module you need; this file is empty.

Only `models` imports unsloth (15 seconds), so everything else starts at once.
"""
