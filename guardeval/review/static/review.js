"use strict";
// The page of one reviewer. Every text of a sample is set as text, never as markup.

const $ = (id) => document.getElementById(id);
const known = new Map(); // position → {sample, marks} as the server last said
const drafts = new Map(); // position → comment that is not kept yet
let state = null;
let at = 0; // position shown
let shown = null; // what the sample pane holds, so that it is built once
let line = Promise.resolve(); // changes go out one after the other

// ---- the server ----

async function ask(path, body, more = {}) {
  const sent = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Guardeval-Review": "1" },
    body: JSON.stringify(body),
    ...more,
  };
  let reply;
  try {
    reply = await fetch(path, sent);
  } catch {
    throw new Error("The server does not answer, so this is not kept. Marks made before are: start `guardeval review` again.");
  }
  const text = await reply.text();
  let data;
  try { data = JSON.parse(text); } catch { data = { error: text }; }
  if (!reply.ok) throw Object.assign(new Error(data.error || `HTTP ${reply.status}`), { refused: reply.status === 409 });
  return data;
}

function change(work) {
  line = line.then(work).then(() => { $("trouble").hidden = true; }, complain);
  return line;
}

function complain(error) {
  if (error.refused) { $("said").textContent = error.message; return; }
  $("trouble").textContent = error.message;
  $("trouble").hidden = false;
}

function accept(position, got) {
  known.set(position, { sample: got.sample, marks: got.marks });
  if (got.progress) state.progress = got.progress;
  if (position === at) render();
}

const mark = (field, value, member = "") => {
  const position = at;
  return change(async () => {
    if (!known.has(position)) known.set(position, await ask(`/api/samples/${position}`));
    const marks = known.get(position).marks;
    const standing = member ? marks.members[member] : marks[field];
    const wanted = standing === value ? null : value;
    accept(position, await ask("/api/marks", { position, field, value: wanted, member }));
    $("said").textContent = wanted === null ? "taken back" : "kept";
  });
};

const undo = () => change(async () => {
  const got = await ask("/api/undo", {});
  if (got.position === null) { $("said").textContent = "there is nothing to undo"; return; }
  if (got.field === "comment") drafts.delete(got.position);
  accept(got.position, got);
  await go(got.position);
  $("said").textContent = `undone: ${got.field}`;
});

const reveal = () => {
  const position = at;
  return change(async () => {
    accept(position, await ask("/api/marks", { position, field: "reveal", value: "yes" }));
    $("said").textContent = "the answer is shown; your label stays";
  });
};

function keepComment(more = {}) {
  const position = at;
  if (!drafts.has(position)) return;
  const value = drafts.get(position);
  const save = async () => {
    accept(position, await ask("/api/marks", { position, field: "comment", value: value.trim() ? value : null }, more));
    if (drafts.get(position) === value) drafts.delete(position);
    $("said").textContent = "comment kept";
  };
  if (more.keepalive) save().catch(() => {}); else change(save);
}

// ---- building ----

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((c) => c !== null && c !== undefined));
  return made;
}

const text = (words, small = false) =>
  el("div", { class: small ? "text small" : "text", dir: "auto", tabindex: "0" }, words === "" ? "(empty)" : words);
const name = (words) => el("span", { class: "name" }, words);
const section = (title, ...children) => el("section", {}, el("h2", {}, title), ...children);
const number = (value) => (value === null || value === undefined ? "n/a" : value.toFixed(3));

function said(v) {
  return v.word === null ? `no verdict: ${v.outcome}` : v.word;
}

function policies(names) {
  return el("p", { class: "soft" }, "policies: ", name(names.length ? names.join(", ") : "none"));
}

function reasoning(v) {
  const steps = v.steps.map(([title, words]) => el("div", { class: "step" }, el("h3", {}, name(title)), text(words, true)));
  if (v.raw === "") return steps;
  const whole = el("details", {}, el("summary", {}, "the answer as it was given"), text(v.raw, true));
  whole.open = steps.length === 0;
  return [...steps, whole];
}

function voteBlock(v) {
  const marks = el("div", { class: "marks", role: "group", "aria-label": `reasoning of ${v.member} is coherent` }, "coherent?");
  for (const value of ["yes", "no", "unsure"]) {
    const button = el("button", { type: "button", "aria-pressed": "false", "data-member": v.key, "data-value": value }, value);
    button.addEventListener("click", () => mark("coherent", value, v.key));
    marks.append(button);
  }
  return el("div", { class: "vote" },
    el("div", { class: "row" }, el("h3", {}, name(v.member)), el("span", {}, said(v)),
      el("span", { class: "soft" }, `score ${number(v.score)} · weight ${number(v.weight)}`)),
    policies(v.policies), ...reasoning(v), marks);
}

function answer(sample) {
  const v = sample.verdict;
  const verdict = section("verdict",
    el("p", { class: "big" }, said(v)),
    el("p", { class: sample.right === false ? "wrong" : "soft" },
      sample.right === null ? "" : sample.right ? "as the gold label" : "not as the gold label"),
    el("p", { class: "soft" }, `score ${number(v.score)}` + (v.mean_score === null ? "" : ` · mean of the members ${number(v.mean_score)}`)),
    policies(v.policies),
    ...v.notes.map((n) => el("p", { class: "soft" }, name(n))));
  const gold = section("gold label",
    el("p", { class: "big" }, sample.gold === null ? "none" : sample.gold),
    policies(sample.gold_policies),
    el("p", { class: "soft" }, "category: ", name(sample.category === null ? "none" : sample.category)),
    el("p", { class: "soft" }, "sample ", name(sample.id)));
  const parts = [el("div", { class: "pair" }, gold, verdict)];
  const words = reasoning(v);
  if (words.length) parts.push(section("reasoning", ...words));
  if (sample.votes.length) parts.push(section(`votes: ${sample.votes.length} ${sample.voters}`, ...sample.votes.map(voteBlock)));
  return parts;
}

function build(sample) {
  const parts = [section("prompt", text(sample.prompt))];
  if (sample.response !== null) parts.push(section("response", text(sample.response)));
  if (sample.hidden) {
    parts.push(section("hidden", el("p", {}, "Gold label, verdict and reasoning are not shown: give a label of your own first.")));
  } else {
    parts.push(...answer(sample));
  }
  $("sample").replaceChildren(...parts);
}

// ---- showing ----

function render() {
  const { sample, marks } = known.get(at);
  const key = `${at} ${sample.hidden}`;
  if (shown !== key) { build(sample); shown = key; }
  for (const button of document.querySelectorAll("button[data-field]")) {
    const { field, value } = button.dataset;
    button.setAttribute("aria-pressed", String(marks[field] === value));
    const waits = sample.hidden && field !== "label";
    const settled = field === "label" && marks.revealed;
    button.disabled = waits || settled || (field === "mark" && !sample.hidden && sample.gold === null);
  }
  for (const button of document.querySelectorAll("button[data-member]")) {
    button.setAttribute("aria-pressed", String(marks.members[button.dataset.member] === button.dataset.value));
  }
  if ($("reveal")) $("reveal").disabled = !sample.hidden || marks.label === null;
  const comment = drafts.has(at) ? drafts.get(at) : marks.comment;
  if ($("comment").value !== comment) $("comment").value = comment;
  const done = state.progress.filter(Boolean).length;
  $("bar").value = done;
  $("done").textContent = `${done} of ${state.progress.length} reviewed`;
  $("place").textContent = `sample ${at + 1} of ${state.progress.length}${marks.reviewed ? " ✓" : ""}`;
  $("previous").disabled = at === 0;
  $("next").disabled = at === state.progress.length - 1;
}

async function go(position) {
  if (position < 0 || position >= state.progress.length) return;
  keepComment();
  if (position !== at) { $("said").textContent = ""; window.scrollTo(0, 0); }
  at = position;
  history.replaceState(null, "", `#${at + 1}`);
  try {
    if (!known.has(position)) known.set(position, await ask(`/api/samples/${position}`));
  } catch (error) { complain(error); return; }
  if (at === position) render(); // a later key may have gone on already
}

function nextOpen() {
  const n = state.progress.length;
  for (let step = 1; step <= n; step++) {
    if (!state.progress[(at + step) % n]) return go((at + step) % n);
  }
  $("said").textContent = "every sample is reviewed";
  return undefined;
}

async function refresh() { // another tab may have marked meanwhile
  if (document.visibilityState !== "visible" || state === null) return;
  change(async () => {
    const position = at;
    const [now, one] = await Promise.all([ask("/api/state"), ask(`/api/samples/${position}`)]);
    known.clear();
    state = now;
    accept(position, one);
  });
}

// ---- keys ----

const ACTIONS = { j: () => go(at + 1), k: () => go(at - 1), o: nextOpen, u: undo, m: () => $("comment").focus(), "?": () => $("keys").showModal(), r: reveal };

document.addEventListener("keydown", (event) => {
  if (state === null || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || $("keys").open) return;
  if (event.target === $("comment")) {
    if (event.key === "Escape") $("comment").blur();
    return;
  }
  const button = [...document.querySelectorAll("button[data-field]")].find((b) => b.dataset.key === event.key);
  if (button) {
    event.preventDefault();
    if (event.repeat || !known.has(at)) return;
    if (button.disabled) $("said").textContent = blocked(button.dataset.field);
    else mark(button.dataset.field, button.dataset.value);
  } else if (event.key in ACTIONS && (event.key !== "r" || $("reveal"))) {
    event.preventDefault();
    ACTIONS[event.key]();
  }
});

function blocked(field) {
  const { sample, marks } = known.get(at);
  if (field === "label" && marks.revealed) return "your label was given before the answer was shown; it stays";
  if (sample.hidden) return "a blind review begins with a label of your own";
  return "this sample has no gold label to agree with";
}

for (const button of document.querySelectorAll("button[data-field]")) {
  button.addEventListener("click", () => mark(button.dataset.field, button.dataset.value));
}
for (const [id, key] of [["previous", "k"], ["next", "j"], ["open", "o"], ["undo", "u"], ["help", "?"], ["reveal", "r"]]) {
  if ($(id)) $(id).addEventListener("click", () => ACTIONS[key]());
}
$("comment").addEventListener("input", () => drafts.set(at, $("comment").value));
$("comment").addEventListener("blur", () => keepComment());
window.addEventListener("pagehide", () => keepComment({ keepalive: true }));
window.addEventListener("focus", refresh);
window.addEventListener("hashchange", () => { const wanted = Number(location.hash.slice(1)); if (wanted) go(wanted - 1); });

(async () => {
  try {
    state = await ask("/api/state");
  } catch (error) { complain(error); return; }
  const wanted = Number(location.hash.slice(1));
  const open = state.progress.indexOf(false);
  at = -1;
  await go(wanted >= 1 && wanted <= state.progress.length ? wanted - 1 : Math.max(open, 0));
})();
