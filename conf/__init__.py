"""The YAML that ships with the package, found by Hydra as `pkg://jaxarc_trace.conf`.

Only data lives in this folder. It is imported as `jaxarc_trace.conf`, never as `conf`.
"""
