"""Exact search: label setting over the stages, with a certificate."""
