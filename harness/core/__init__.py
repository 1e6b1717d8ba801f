"""What every room stands on: errors, specs, registries, plugins, seeds, digests, the cache folder, cores. No torch."""
