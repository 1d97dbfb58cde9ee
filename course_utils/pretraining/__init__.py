"""Before fine-tuning: text, counts, a small model, what transfers (lesson 11)."""
