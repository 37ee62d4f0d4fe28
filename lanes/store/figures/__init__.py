"""What is measured, where it is measured."""
