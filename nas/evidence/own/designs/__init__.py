"""The shipped designs as YAML files; ``nas.evidence.own.design_file`` reads them."""
