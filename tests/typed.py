"""A plugin for pytest, `-p tests.typed`: shapes in signatures are held to what arrives in any test.

Beartype looks at each call of a function, and at each dataclass that is built, of the modules that
name shapes. A test that hands over what no signature allows cannot be among those that are run.
"""

from pathlib import Path

from jaxtyping import install_import_hook

ROOT = Path(__file__).parents[1]
# An int is a float, as the language of types has it.
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"


def with_shapes() -> list[str]:
    """Modules of the package whose annotations name shapes."""
    found: list[str] = []
    for folder in ("jaxarc_trace", "render"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            words = file.relative_to(ROOT).with_suffix("").parts
            name = ".".join(words if folder == "jaxarc_trace" else ("jaxarc_trace", *words))
            if "from jaxtyping import" in file.read_text(encoding="utf-8"):
                found.append(name)
    return found


install_import_hook(with_shapes(), CHECKER)
