"""Recipes as YAML files; ``distill.train.recipe`` reads them."""
