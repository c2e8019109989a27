"""The shipped search spaces as YAML files; ``search_spaces.space_file`` reads them."""
