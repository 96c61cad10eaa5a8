"""Many episodes, none of them in memory: a lazy Sequence over stores and recordings."""

import difflib
import functools
import importlib
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import numpy as np
from jaxtyping import Int, Int64, Shaped

from jaxarc_trace.episode import Episode
from jaxarc_trace.errors import CorruptEpisodeError, SpecError, require
from jaxarc_trace.query import first_of_repeats, joined, ordered, query_columns
from jaxarc_trace.recording import EpisodeBytes, Recording, decode
from jaxarc_trace.source import InMemory, Source

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Episodes"]

SHOWN = 10


class Episodes(Sequence[Episode]):
    """Episodes in a fixed order, read one at a time when they are asked for.

    Immutable: whatever selects or sorts gives another view on the same sources. Pickles by
    path, so that a worker gets a handle and not the data.

    Attributes:
        sources: where they come from.
        positions: int64 `[N]`, position of each in the sources laid one after the other.
        added: columns beside those that are stored, one value for each episode of the sources.
        shown: what is made of an episode when it is read; default itself.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        positions: Int[np.ndarray, " episodes"],
        added: Mapping[str, Shaped[np.ndarray, " total"]] | None = None,
        shown: Callable[[Episode], Episode] | None = None,
    ) -> None:
        self.sources: tuple[Source, ...] = tuple(sources)
        self.positions = positions
        self.added: Mapping[str, Shaped[np.ndarray, " total"]] = added or {}
        self.shown = shown

    @classmethod
    def of(cls, recording: Recording, metadata: Mapping[str, Any] | None = None) -> "Episodes":
        """The episodes of a recording, without a disk."""
        return cls.join([InMemory(recording, metadata or {})])

    @classmethod
    def join(cls, sources: Sequence[Source]) -> "Episodes":
        """The episodes of several sources; one that was saved more than once is there once.

        Of repeats (same run, process, lane and number) the complete one is taken, then the one
        with fewest transitions dropped. Sources of no run are taken for saves of the same program;
        where lane and number agree and the episodes do not, both are kept.
        """
        if len(sources) == 1:
            return cls(sources, np.arange(len(sources[0])))
        return cls(sources, first_of_repeats([(s.key, s.columns) for s in sources]))

    def __len__(self) -> int:
        return len(self.positions)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> "Episodes": ...
    def __getitem__(self, index: SupportsIndex | slice) -> "Episode | Episodes":
        """One episode, read and checked now, or a view.

        Raises:
            IndexError: when there is no such episode.
            CorruptEpisodeError: when its bytes are not what was written.
        """
        if isinstance(index, slice):
            return self._view(self.positions[index])
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"expected an episode of {len(self)}, found index {index}")
        source, row = self.locate(index)
        return self._decoded(source, row, source.packed(row))

    def __iter__(self) -> Iterator[Episode]:
        for source, row, parts in self.stream():
            if isinstance(parts, CorruptEpisodeError):
                raise parts
            yield self._decoded(source, row, parts)

    def stream(self) -> Iterator[tuple[Source, int, EpisodeBytes | CorruptEpisodeError]]:
        """All of them in order, packed, read a little ahead of whoever takes them.

        Returns:
            Of each its source, its row there, and its bytes or why they cannot be had.
        """
        which = np.searchsorted(self._starts, self.positions, side="right") - 1
        rows = self.positions - self._starts[which]
        for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(which)) + 1):
            if len(run):
                source, wanted = self.sources[which[run[0]]], rows[run].tolist()
                for row, parts in zip(wanted, source.stream(wanted), strict=True):
                    yield source, row, parts

    def _decoded(self, source: Source, row: int, parts: EpisodeBytes) -> Episode:
        episode = decode(
            source.schema,
            parts,
            source.values(row),
            policies=source.policies,
            environment=source.environment,
            metadata=source.metadata,
        )
        return episode if self.shown is None else self.shown(episode)

    def locate(self, index: int) -> tuple[Source, int]:
        """The source of an episode and its row there."""
        position = self.positions[index]
        which = int(np.searchsorted(self._starts, position, side="right")) - 1
        return self.sources[which], int(position - self._starts[which])

    @functools.cached_property
    def columns(self) -> Mapping[str, Shaped[np.ndarray, " episodes"]]:
        """What can be asked of all episodes without reading them, `[N]` arrays by name.

        `lane`, `number`, `task` (its name), `return` (float32), `length` (transitions it had),
        `kept`, `dropped`, `complete`, `terminated`, `truncated`, `solved` (int8: 1, 0, or -1 where
        the environment does not say), `outcome` and `kept_by` (text), `end_step`; then each
        metric and each constant that is one number, by its own name; `update`, the step that a
        run gave the save, where some save has one, else -1; and what `with_columns` added.
        """
        tables = [query_columns(s.columns, s.policies, s.environment) for s in self.sources]
        if not tables:
            return {}
        found = {name: column[self.positions] for name, column in joined(tables).items()}
        updates = [_update(source) for source in self.sources]
        if max(updates) >= 0:
            counts = [len(source) for source in self.sources]
            found.setdefault(
                "update", np.repeat(np.array(updates, np.int64), counts)[self.positions]
            )
        return {**found, **{name: column[self.positions] for name, column in self.added.items()}}

    def with_columns(self, added: Mapping[str, Shaped[np.ndarray, " total"]]) -> "Episodes":
        """The same episodes with more columns to ask for and to sort by.

        Args:
            added: arrays `[total]` with a value for each episode of the sources, in their order,
                whichever of them are chosen here.

        Raises:
            SpecError: when one has another length.
        """
        total = sum(len(source) for source in self.sources)
        for name, column in added.items():
            if len(column) != total:
                raise SpecError(
                    f"column {name!r}: expected a value for each of the {total} episodes of the "
                    f"sources, found {len(column)}; add it before choosing some of them"
                )
        return Episodes(self.sources, self.positions, {**self.added, **added}, self.shown)

    def shown_as(self, function: Callable[[Episode], Episode]) -> "Episodes":
        """The same episodes, each put through a function when it is read."""
        return Episodes(self.sources, self.positions, self.added, function)

    @functools.cached_property
    def table(self) -> "pl.DataFrame":
        """`columns` as a polars DataFrame.

        The first column, `episode`, is the position here; `solved` is null where the
        environment does not say.

        Raises:
            MissingExtraError: when polars is not installed.
        """
        pl = require("polars", "analysis", "a table of episodes")
        series: list[Any] = [pl.Series("episode", np.arange(len(self)))]
        for name, column in self.columns.items():
            values = column.tolist() if column.dtype == object else column
            series.append(
                pl.Series(name, values, dtype=pl.String if column.dtype == object else None)
            )
        table = pl.DataFrame(series)
        if "solved" not in table.columns:
            return table
        solved = pl.when(pl.col("solved") >= 0).then(pl.col("solved") == 1)
        return table.with_columns(solved.alias("solved"))

    def steps(self, name: str) -> Shaped[np.ndarray, " transitions"]:
        """One value of every kept transition of all episodes, one episode after the other.

        Args:
            name: `reward`, `terminated`, `truncated`, `digest` or `operation`.

        Returns:
            `[sum of columns["kept"]]`; no record is decoded for it.

        Raises:
            SpecError: when a source does not store it.
            StoreError: when the column is damaged.
        """
        columns = [source.steps(name) for source in self.sources]
        present = [column for column in columns if column is not None]
        if len(present) != len(columns):
            raise SpecError(
                f"expected reward, terminated, truncated, digest or operation, found {name!r}, "
                "which not every source stores; take it from each episode instead"
            )
        if not present:
            return np.zeros(0)
        values = np.concatenate(present)
        kept = np.concatenate([source.columns["kept"] for source in self.sources]).astype(np.int64)
        ends = np.cumsum(kept)
        chosen = [values[ends[p] - kept[p] : ends[p]] for p in self.positions]
        return np.concatenate(chosen) if chosen else values[:0]

    def take(self, indices: Iterable[int] | Shaped[np.ndarray, "..."]) -> "Episodes":
        """Those at the given positions, in that order."""
        rows = indices if isinstance(indices, np.ndarray) else list(indices)
        return self._view(self.positions[np.asarray(rows, np.int64)])

    def filter(self, predicate: "Callable[[Episode], bool] | pl.Expr") -> "Episodes":
        """Those for which a condition holds.

        Args:
            predicate: a function of the episode, for which each is read, or a polars expression
                over `table`, for which none is.

        Raises:
            SpecError: when it is a text, or the expression does not fit the table.
        """
        if isinstance(predicate, str):
            raise SpecError(
                "filter: expected a function or a polars expression, found a text; use where() for "
                "a condition in SQL"
            )
        if callable(predicate):
            return self.take([i for i, episode in enumerate(self) if predicate(episode)])
        return self._where(predicate, "the expression")

    def where(self, sql: str) -> "Episodes":
        """Those for which a condition in SQL over `table` holds: `solved = false AND length > 50`.

        Raises:
            SpecError: when it is no condition, or does not fit the table.
            MissingExtraError: when polars is not installed.
        """
        pl = require("polars", "analysis", "a condition in SQL")
        try:
            expression = pl.sql_expr(sql)
        except pl.exceptions.PolarsError as error:
            raise SpecError(
                f'expected a condition such as "solved = false AND length > 50", found {sql!r} '
                f"({str(error).splitlines()[0]}); write one over the columns "
                f"{', '.join(self.table.columns)}"
            ) from error
        return self._where(expression, repr(sql))

    def sort_by(self, column: str, *, descending: bool = False) -> "Episodes":
        """Sorted by one of `columns`; equal ones keep their order, NaN comes last.

        Raises:
            SpecError: when there is no such column.
        """
        return self.take(ordered(self._column(column), descending=descending))

    def best(self, count: int, *, by: str = "return") -> "Episodes":
        """The complete episodes with the largest value of a column, largest first."""
        return self._complete().sort_by(by, descending=True)[: max(count, 0)]

    def worst(self, count: int, *, by: str = "return") -> "Episodes":
        """The complete episodes with the smallest value of a column, smallest first."""
        return self._complete().sort_by(by)[: max(count, 0)]

    def failed(self, count: int | None = None) -> "Episodes":
        """Complete episodes that did not reach their goal, in order."""
        rows = np.flatnonzero(self._column("complete") & (self._column("solved") == 0))
        return self.take(rows[:count])

    def sample(self, count: int, *, seed: int = 0) -> "Episodes":
        """So many drawn uniformly without repeats, in order; all when there are no more."""
        generator = np.random.default_rng(seed)
        drawn = generator.choice(len(self), min(count, len(self)), replace=False)
        return self.take(np.sort(drawn))

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the user stored beside the trace: the entries on which all sources agree."""
        return _common([source.metadata for source in self.sources])

    @property
    def environment(self) -> Mapping[str, Any]:
        """Description of the environment: the entries on which all sources agree."""
        return _common([source.environment for source in self.sources])

    @property
    def spec(self) -> Mapping[str, Any]:
        """What was asked to be kept: the entries on which all sources agree."""
        return _common([source.spec for source in self.sources])

    def __repr__(self) -> str:
        names = ", ".join(source.name for source in self.sources[:3])
        more = f" and {len(self.sources) - 3} more" if len(self.sources) > 3 else ""
        steps = int(self.columns["length"].sum()) if self.columns else 0
        head = f"<Episodes: {len(self)} episodes, {steps} steps, from {names}{more}>"
        shown = "lane number task return length outcome kept_by".split()
        rows = [["", *(name for name in shown if name in self.columns)]]
        for index in range(min(SHOWN, len(self))):
            rows.append([str(index), *(_cell(self.columns[name][index]) for name in rows[0][1:])])
        if len(self) > SHOWN:
            rows.append(["..."] + [""] * (len(rows[0]) - 1))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([head, *lines]) if len(self) else head

    def _repr_html_(self) -> str:
        """What a notebook shows: a table with curves."""
        # By name, since pictures stand above the data; they are needed here only when shown.
        return importlib.import_module("jaxarc_trace.render.notebook").table(self)

    def __getstate__(self) -> dict[str, Any]:
        names = ("sources", "positions", "added", "shown")
        return {name: getattr(self, name) for name in names}

    @functools.cached_property
    def _starts(self) -> Int64[np.ndarray, " sources"]:
        """First position of each source."""
        return np.cumsum([0, *(len(source) for source in self.sources)])[:-1]

    def _view(self, positions: Int[np.ndarray, " chosen"]) -> "Episodes":
        return Episodes(self.sources, positions, self.added, self.shown)

    def _complete(self) -> "Episodes":
        return self.take(np.flatnonzero(self._column("complete")))

    def _column(self, name: str) -> Shaped[np.ndarray, " episodes"]:
        if name in self.columns:
            return self.columns[name]
        if not self.sources:
            return np.zeros(0, np.bool_)
        near = difflib.get_close_matches(name, self.columns, 1)
        raise SpecError(
            f"expected one of the columns {', '.join(self.columns)}, found {name!r}"
            + (f"; did you mean {near[0]!r}?" if near else "; choose one of them")
        )

    def _where(self, expression: "pl.Expr", what: str) -> "Episodes":
        pl = require("polars", "analysis", "a condition over the table")
        table = self.table
        try:
            chosen = table.select(expression.alias("chosen"))["chosen"]
        except pl.exceptions.PolarsError as error:
            told = str(error).splitlines()[0].partition("; valid columns")[0]
            asked = re.search(r'column "([^"]*)"', told)
            near = difflib.get_close_matches(asked[1], table.columns, 1) if asked else ()
            raise SpecError(
                f"expected a condition over the columns {', '.join(table.columns)}, found {what} "
                f"({told}); {f'did you mean {near[0]!r}?' if near else 'check the names and types'}"
            ) from error
        if chosen.dtype != pl.Boolean:
            raise SpecError(
                f"expected a condition that is true or false for each episode, found {what} of "
                f"type {chosen.dtype}; compare it with something"
            )
        flags = np.broadcast_to(chosen.fill_null(False).to_numpy(), len(self))
        return self.take(np.flatnonzero(flags))


def _update(source: Source) -> int:
    """The step of the program at which a source was saved; -1 where it does not say."""
    step = source.metadata.get("step")
    return step if isinstance(step, int) and not isinstance(step, bool) else -1


def _common(values: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    first, *others = values or [{}]
    return {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in others)
    }


def _cell(value: Any) -> str:
    """One value as short plain text; names come from outside and may hold anything."""
    text = f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)
    return "".join(c if c.isprintable() else "?" for c in text)[:20]
