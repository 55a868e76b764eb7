"""What happens around the iterations of a run; none of it knows the model."""
