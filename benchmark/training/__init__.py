"""Training: features of auxiliary images, the epochs, the jobs, published checkpoints."""
