"""Latency profiles of devices as YAML files; ``nas.devices.profile`` reads them."""
