"""Rollouts with their plans, moves, measurements, shadows, and the incidents that hinder them."""
