"""Will it fit? Bytes planned from shapes, and bytes counted."""
