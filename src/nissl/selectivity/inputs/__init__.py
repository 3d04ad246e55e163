"""What networks are asked: facts, choices, pairs, parallel texts."""
