"""The frozen CLIP: weights, vision tower, windows, text tower, all behind one type."""
