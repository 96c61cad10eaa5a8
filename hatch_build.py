"""Puts the top-level folders `render` and `conf` inside the package when a wheel is built.

In a checkout they are reached as `jaxarc_trace.render` and `jaxarc_trace.conf` through two
symlinks. An sdist cannot count on links, so it leaves them out; a wheel takes the folders
themselves; an editable install points at the checkout, where the links are.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("render", "conf")


class FolderHook(BuildHookInterface):
    """Maps each of `FOLDERS` to its place in the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the folders to `force_include`, unless `version` is `"editable"`."""
        if version == "editable":
            return
        for folder in FOLDERS:
            build_data["force_include"][folder] = f"jaxarc_trace/{folder}"
