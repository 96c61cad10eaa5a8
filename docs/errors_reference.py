"""The page of every error and warning: their texts as they stand in the source, by what was done.

A message says what was expected, what was found and what to do. What to do begins at the first
clause that is an order; where a message only says what was expected, that is to be given. `FIXES`
has the rest. `errors_texts.py` reads the source, `reference.py` writes the page.
"""

import re

from errors_texts import Entry, entries, said_by

__all__ = ["FIXES", "ORDER", "PASSED_ON", "TOPICS", "page", "parts", "topic_of"]

TOPICS = {
    "Recording": """spec schema fields codec folding digest probe probes plan stats shelf memory blackbox trace lanebox
        slots verbs merge shard jaxarc environment adapters wrap rollout stoa stoix triggers take recording overhead
        timing""",
    "Saving and loading": """store store_write store_read store_pack store_format store_commit store_verify together
        episode episodes source query errors fresh""",
    "Runs, cleaning, export and import": """run saves locks manifest names pins retention limits cleaning catalog
        background secrecy exchange exchange_jsonl exchange_parts exchange_tables compressed arc_agi_3""",
    "Settings": """config config_compose config_fields config_groups config_jaxarc config_migrate config_run
        config_sections""",
    "Replay and analysis": """replay replay_parts replay_report simulate divergence counterfactual added_fields
        recreate analysis clicks comparison facts failures moments statistics stepper""",
    "Pictures and the report": "render",
    "Publishing": "publish",
    "Command line, demo and benchmarks": "cli commands demo doctor bench bench_gymnax episode_json",
}
"""Which modules stand under which heading; a module belongs where its name, or how it begins, does."""
NOTES = {
    "Settings": """The problem of a setting begins with its name, or with the words that were given. With several of them
the text says how many problems there are, and has each on a line of its own.
""",
    "Command line, demo and benchmarks": """Words that a command does not know (`No such option`, `Missing argument`, `Invalid value`) are refused by Typer with
exit code 2: `jaxarc-trace COMMAND --help` lists what it takes.
""",
}
_LEVEL = "record steps: `level=standard` or above"
_RESTORE = "the stored description contradicts itself: restore `trace.json` from a copy"
FIXES = {
    ("cleaning", "found none; nothing was"): "name a run, or the directory that holds runs",
    ("commands_render", "that is what episode"): "ask for a step that the episode has: the text says which",
    ("comparison", "there are {numbers}"): "name one of the columns that the text lists",
    ("config_compose", "a YAML file, found none"): "check the path: the text names the nearest file, where one is near",
    ("config_compose", "expected a node"): "put the settings under the node `trace`, as the text shows",
    ("config_compose", "a list is written"): "give one value; write a list as `[a,b]`",
    ("config_compose", "as in capture.max_steps=64"): "write `KEY=VALUE`, in the way that the text shows",
    ("config_compose", "every setting exists"): "write `KEY=VALUE`, without `+`, `++` or `~`",
    ("config_compose", "expected one of {groups}"): "use one of the names that the text lists; it ends with the nearest one",
    ("config_compose", "expected a setting in it"): "set what is in it, as the text shows",
    ("config_compose", "cannot be resolved"): "define what the `${...}` in it refers to, or write the value itself",
    ("config_compose", "that can be read"): "correct the YAML at the line that the text names",
    ("config_compose", "the configuration that Hydra gave"): "give the `cfg` of `@hydra.main`, with the node `trace` in it",
    ("config_compose", "override: {error}"): "correct the override: the text is Hydra's own",
    ("config_fields", "there is no such key"): "use the near name that the text ends with, or look with `jaxarc-trace config groups`",
    ("config_fields", "expected {allowed}"): "give what it allows: `jaxarc-trace config explain KEY` says what and why",
    ("config_migrate", "found ours"): "use the file as it is: these are settings of this package already",
    ("config_run", "every picture"): "mend what the text ends with, and draw again: what is drawn already is kept",
    ("config_sections", "publish.images="): f"{_LEVEL}, or leave it null",
    ("config_sections", "the animation"): f"{_LEVEL}, or leave it out",
    ("config_sections", "problems in the configuration"): "correct each line: it names a setting, its value and what is allowed",
    ("config_sections", "capture: {error}"): "correct what the text names: it is that of `TraceSpec`",
    ("demo/run", "a save, found that it failed"): "mend what the warning before it names: space or permissions, most often",
    ("demo/tasks", "expected the id of one of"): "use an id of the dataset; the text ends with near ones",
    ("episodes", "expected one of the columns"): "use one of the columns that the text lists, or the near one that it names",
    ("episodes", "expected an episode of"): "ask for an index below `len(episodes)`, or from `-len(episodes)` on",
    ("manifest", "cannot be read"): "check the permissions of the file, or restore it from a copy",
    ("probe", "is no field"): "use one of the names that the text lists; it ends with the nearest one",
    ("publish", "not all of it is at W&B"): "run the command that is printed: it sends the rest, and nothing twice",
    ("render/facts", "was asked for"): "ask for a step that the episode has: the text says which",
    ("render/figures", "growth needs panels"): "give at least one panel, and points in each",
    ("render/filmstrip", "1 to 40 columns"): "give columns and most within that",
    ("render/filmstrip", "has states 0 to"): "ask for states that the episode has",
    ("render/filmstrip", "at least one of the states"): "name at least one state",
    ("render/generic", "register_renderer takes"): "give both in that order",
    ("render/theme", "Known: {known}"): "use one of the names that the text lists; it begins with the nearest one",
    ("render/theme", "holds colours as"): "write the colour in that way",
    ("run", "found 9999 runs"): "move or remove runs of that name that were made in the same second, or give another name",
    ("run", "going on without this save"): 'mend what the text behind names: the training goes on (`on_error="warn"`), and the next save is tried anew',
    ("run", "{path}: {found}"): "clean the run (`jaxarc-trace clean`) or raise its limits",
    ("saves", "left out a damaged save"): "restore the save from a copy; `jaxarc-trace verify` names each damaged episode",
    ("schema", "expected an encoding of that dtype"): _RESTORE,
    ("schema", "its fields take"): _RESTORE,
    ("schema", "bytes at"): _RESTORE,
    ("schema", "must not change between steps"): "give `attach` an example like the actions of the loop, and return states of one dtype and shape",
    ("store_commit", "was never finished"): "load another save, or a run by `jt.Run.open(path).episodes()`; what a stopped program left is cleared by the next one that writes there",
}  # fmt: skip
"""What to do, for texts that do not say it themselves: by module and a part of the text."""
PASSED_ON = {
    ("publish", "not all of it is at W&B"): (("publish_process", "_heard"), ("publish", "_tried")),
    ("run", "{path}: {found}"): (("run", "_near"), ("retention", "choose")),
}
"""The functions that make what a text only passes on, by module and a part of the text."""
_VERBS = """add ask break build call check choose clean compare correct create decode define draw export find fix give
    import install keep leave let load look lower make mend move name number open pass publish put raise read record reduce
    remove rename replace restore return run save say see set show split start take trace try use vmap wait write"""
ORDER = re.compile(
    rf"(?:[^.;:,]*[:,] )?(?:so )?(?:{'|'.join(_VERBS.split())})\b|(?:to|for) [^.;:,]* (?:use|pass)\b",
    re.IGNORECASE,
)
"""How a clause begins that says what to do."""
_CLAUSE = re.compile(r"; |[.?] (?=[A-Z])")
_WANTED = re.compile(r"\bexpected (.+?),? found\b|\bExpected (.+?); found\b")
_IS = re.compile(r"^(\w+) (?:is|are) (.+?); found\b")
HEAD = """# Every error and warning

Each text that this package raises or warns with, as it stands in the source, with what to do. `{...}` is what differs
from case to case, and *(or: ...)* another way in which a text goes on. Search for a part of what you were told,
leaving out names and numbers. [Troubleshooting](troubleshooting.md) shows the commonest ones as they are printed, and
how one comes to them.

A text says what was expected and what was found, which is the cause. Every error is a `jt.TraceError`, except for
the `IndexError` of a sequence. On the command line it is one line on stderr and exit code 2; `--traceback` shows where
it came from. A *warning* is a `RuntimeWarning`, after which the program goes on. This page is made by
`python docs/reference.py`.
"""


def parts(entry: Entry) -> tuple[str, str]:
    """What is wrong, and what to do; the latter is empty where nothing says it."""
    text = entry.text
    for (module, part), fix in FIXES.items():
        if module == _short_name(entry.file) and part in text:
            return text, fix
    for clause in _CLAUSE.finditer(text):
        if ORDER.match(text, clause.end()):
            return text[: clause.start()], text[clause.end() :].rstrip(".")
    if _IS.match(text) and (found := _IS.match(text)):
        return text, f"let {found[1]} be {found[2]}"
    if wanted := _WANTED.search(text):
        return text, _given(wanted[1] or wanted[2])
    cause, _, _ = text.partition("; found")
    order = re.search(r"\bgive .*?(?=, found|$)", text)
    return text, order[0] if order else cause if ORDER.match(cause) else ""


def _given(wanted: str) -> str:
    """To give what was expected."""
    if verb := re.match(r"(.+?) to (be|end|say) (.*)", wanted):
        return f"let {verb[1]} {verb[2]} {verb[3]}"
    return f"give {wanted.rstrip(';')}"


def _short_name(file: str) -> str:
    return file.removesuffix(".py").removeprefix("jaxarc_trace/").removesuffix("/__init__")


def topic_of(file: str) -> str:
    """The heading under which the texts of a file stand, or nothing."""
    name = _short_name(file).partition("/")[0]
    known = {word: topic for topic, words in TOPICS.items() for word in words.split()}
    while name not in known and "_" in name:
        name = name.rpartition("_")[0]
    return known.get(name, "")


def page() -> str:
    """The text of errors.md."""
    found = entries()
    lines = [HEAD]
    for topic in TOPICS:
        own = [entry for entry in found if topic_of(entry.file) == topic]
        lines += [f"## {topic}\n", *([NOTES[topic]] if topic in NOTES else [])]
        # One text may be raised in several places.
        for kind, text in dict.fromkeys((entry.kind, entry.text) for entry in own):
            lines.append(_section([e for e in own if (e.kind, e.text) == (kind, text)]))
    return "\n".join(lines)


def _section(places: list[Entry]) -> str:
    """One text: a heading, so that the search of the site leads to it, and what to do."""
    cause, fix = parts(places[0])
    where = ", ".join(dict.fromkeys(f"`{_dotted(each)}`" for each in places))
    lines = [f"#### {_code(cause)}\n", f"**Fix:** {_plain(fix)}.\n"]
    for (module, part), functions in PASSED_ON.items():
        if module == _short_name(places[0].file) and part in places[0].text:
            texts = [each for function in functions for each in said_by(*function)]
            name = re.findall(r"\{\w+\}", places[0].text)[-1]
            lines.insert(1, f"`{name}` is: {'; or '.join(map(_code, texts))}.\n")
    return "\n".join([*lines, f"<small>{places[0].kind}, by {where}</small>\n"])


def _dotted(entry: Entry) -> str:
    name = _short_name(entry.file).replace("/", ".")
    return f"{name}.{entry.function}" if entry.function else name


def _code(text: str) -> str:
    """Text as code, whatever quotes it holds, on one line."""
    line = " ".join(text.split()).removesuffix(".")
    return f"`` {line} ``" if "`" in line else f"`{line}`"


def _plain(text: str) -> str:
    """What to do, as a sentence: what would be markup outside of code stands for itself."""
    line = " ".join(text.split()).rstrip(".")
    line = f"{line[:1].upper()}{line[1:]}" if re.match(r"[a-z]+\b(?![=(.])", line) else line
    pieces = line.split("`")
    pieces[::2] = [re.sub(r"([\\*_\[\]<>])", r"\\\1", piece) for piece in pieces[::2]]
    return "`".join(pieces)
