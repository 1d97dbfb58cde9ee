"""Other ways than LoRA to fine-tune, on one task and one budget (lesson 09)."""
