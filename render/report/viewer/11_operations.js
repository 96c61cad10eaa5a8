// ---- Operations and transport ------------------------------------------------------------

const OPERATION_HEIGHT = 28;
let operations = null;
let operationsShown = -1;

function startOperations() {
  const list = byId("operations");
  operations = new VirtualList(list, OPERATION_HEIGHT, operationRow);
  operations.body.setAttribute("role", "presentation");
  list.addEventListener("click", (event) => {
    const row = event.target.closest("[data-step]");
    if (row) goTo(Number(row.dataset.step));
  });
}

/** One line of the list: step, sign and name of the operation, what it changed. */
function operationRow(t) {
  const { a } = view;
  const operation = operationAt(a, t);
  const change = a.scores ? a.scores[t + 1] - a.scores[t] : a.rewards[t];
  const name = visible(operation.name, 60);
  return h("div", {
    class: `operation-row${t === state.t ? " now" : ""}${didChange(a, t) ? "" : " idle"}`,
    role: "option",
    id: `operation-${t}`,
    "data-step": t,
    "aria-selected": t === state.t ? "true" : "false",
    "aria-setsize": a.steps,
    "aria-posinset": t + 1,
  },
  h("span", { class: "at" }, shownStep(a, t)), swatch(operation), h("span", { class: "name", title: name }, name),
  a.arc && a.changed[t] > 0 ? h("span", { class: "cells", title: "cells changed" }, integer(a.changed[t])) : h("span"),
  delta(change, 2) || h("span"));
}

function showOperations() {
  const fresh = operationsShown !== view.a.row;
  operationsShown = view.a.row;
  const title = view.a.operations ? "Operations" : "Actions";
  byId("operations-title").textContent = state.compare ? `${title} of A` : title;
  byId("operations-count").textContent = plural(view.a.steps, "step");
  if (fresh) operations.scrollTo(0);
  operations.show(view.a.steps, state.t);
  if (view.a.steps) byId("operations").setAttribute("aria-activedescendant", `operation-${state.t}`);
}

// ---- Transport

function showTransport() {
  const last = lastStep();
  const { dropped, steps } = view.a;
  const position = byId("position");
  position.min = dropped + 1;
  position.max = dropped + last + 1;
  if (document.activeElement !== position) position.value = dropped + state.t + 1;
  byId("last").textContent = `of ${integer(dropped + steps)}`;
  for (const name of ["first", "previous"]) byId(name).disabled = state.t === 0;
  for (const name of ["next", "final"]) byId(name).disabled = state.t === last;
  const play = byId("play");
  play.classList.toggle("playing", state.playing);
  play.setAttribute("aria-label", state.playing ? "Pause" : "Play");
  byId("compare").setAttribute("aria-pressed", state.compare);
}

/** `Step 13 of 47`. */
function positionText() {
  return `Step ${shownStep(view.a, state.t)} of ${integer(view.a.dropped + view.a.steps)}`;
}

let playTimer = 0;

/** Plays from here to the end; from the start when at the end. */
function play(on) {
  clearTimeout(playTimer);
  if (on && state.t >= lastStep()) update({ t: 0 }, { push: false });
  update({ playing: on && lastStep() > 0 }, { push: false });
  if (state.playing) playTimer = setTimeout(playOn, 1000 / Number(byId("speed").value));
}

function playOn() {
  if (!state.playing) return;
  goTo(state.t + 1);
  if (state.t >= lastStep()) update({ playing: false }, { push: false });
  else playTimer = setTimeout(playOn, 1000 / Number(byId("speed").value));
}

/** Goes to the nearest of the given steps before or after the present one. */
function hop(steps, direction) {
  const found = direction > 0 ? steps.find((t) => t > state.t) : steps.findLast((t) => t < state.t);
  if (found === undefined) say(direction > 0 ? "No later one." : "No earlier one.");
  else goTo(found);
}

function hopChange(direction) {
  hop(view.a?.changes ?? [], direction);
}

function hopMoment(direction) {
  const steps = (view.a?.moments ?? []).map(stepOfMoment).sort((a, b) => a - b);
  hop(steps, direction);
}

/** To the next or previous step that shows a failure; round again where one mode is asked for. */
function hopFailure(direction, only = null) {
  const failures = only ? [only] : view.a?.failures ?? [];
  const steps = failures.flatMap(({ states }) => states.map((at) => stepOfMoment([at]))).sort((a, b) => a - b);
  if (only && !steps.some((t) => t > state.t)) goTo(steps[0]);
  else hop(steps, direction);
}

// ---- Live region

let sayTimer = 0;

/** Tells a screen reader, once the reader's hands are still. */
function say(text) {
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => {
    byId("live").textContent = text;
  }, 350);
}

function announce() {
  if (state.playing) return;
  const { a } = view;
  const { t } = state;
  if (!a.steps) {
    say("This episode has no recorded step.");
    return;
  }
  const parts = [positionText(), visible(operationAt(a, t).name, 60)];
  parts.push(...badgesAt(a, t).map(({ text }) => text), `reward ${number(a.rewards[t])}`);
  if (a.scores) parts.push(`${view.archive.index.scoreLabel} ${number(a.scores[t + 1])}`);
  if (state.compare && view.b?.arc && a.arc) parts.push(`${plural(differenceAt(t).count, "cell")} differ`);
  say(`${parts.join(", ")}.`);
}
