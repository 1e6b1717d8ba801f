"""Files from elsewhere are data: paths that stay in their folder, sizes bounded, pickles followed and not run, images decoded.

Everything that is written is written whole or not at all. Nothing here loads torch before a tensor is asked for.
"""
