"""Recipes as YAML files; ``distill.recipe`` reads them."""
