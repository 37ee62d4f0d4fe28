"""Tests of a sweep: each of its duties, and that each duty works alone."""
