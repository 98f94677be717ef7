"""Figures, tables and what moves them."""
