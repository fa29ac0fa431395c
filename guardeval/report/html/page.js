"use strict";
(() => {
  const byId = (id) => document.getElementById(id);

  // ---- dark and light: the system's until the reader chooses ----
  const root = document.documentElement;
  const stored = (() => { try { return localStorage.getItem("guardeval-theme"); } catch { return null; } })();
  if (stored === "dark" || stored === "light") root.dataset.theme = stored;
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("guardeval-theme", root.dataset.theme); } catch { /* a page from disk may have no storage */ }
  });

  // ---- on paper everything is open ----
  const closed = () => [...document.querySelectorAll("details:not([open])")];
  let opened = [];
  addEventListener("beforeprint", () => { opened = closed(); for (const d of opened) d.open = true; });
  addEventListener("afterprint", () => { for (const d of opened) d.open = false; });

  // ---- the samples ----
  const data = JSON.parse(byId("data").textContent);
  const at = Object.fromEntries(data.fields.map((name, i) => [name, i]));
  const { rows, strings } = data;
  if (!rows.length) return;
  byId("browser").hidden = false;
  const lower = new Array(strings.length);
  const folded = (i) => (lower[i] ??= strings[i].toLowerCase());
  const text = (i) => (i < 0 ? "" : strings[i]);
  const KINDS = [["right", "right"], ["over", "over-flagged"], ["under", "missed"], ["none", "no verdict"], ["free", "unlabelled"]];
  const kindOf = (r) => (r[at.label] < 0 ? 3 : r[at.gold] < 0 ? 4 : r[at.gold] === r[at.label] ? 0 : r[at.label] ? 1 : 2);
  const kinds = rows.map(kindOf);
  const margin = (r) => (r[at.score] === null ? null : Math.abs(r[at.score] - 0.5) * 2);
  const word = (r, label) => (label < 0 ? "–" : data.tasks[r[at.task]][label ? "positive" : "negative"]);
  const number = (x, digits = 3) => (x === null ? "n/a" : x.toFixed(digits));
  const hasScore = rows.some((r) => r[at.score] !== null);
  const hasApart = rows.some((r) => r[at.apart] !== null);

  const make = (tag, className, ...children) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children); // strings become text nodes
    return element;
  };

  // ---- filters ----
  const fill = (id, all, options) => byId(id).append(new Option(all, ""), ...options.map(([value, name]) => new Option(name, value)));
  const named = (names) => names.map((name, i) => [String(i), name]);
  const present = (names, used) => named(names).filter(([i]) => used.has(Number(i)));
  const used = (field) => new Set(rows.flatMap((r) => r[at[field]]));
  const counted = (i) => kinds.reduce((n, k) => n + (k === i), 0);
  const policies = new Set([...used("policies"), ...used("goldPolicies")]);
  const NAMES = { gained: "gained (wrong to right)", lost: "lost (right to wrong)", changed: "changed, wrong in both" };
  const cellName = ([run, task, , gold, before, after, n]) =>
    [data.runs.length > 2 ? data.runs[run] : "", data.tasks.length > 1 ? data.tasks[task].name : "", `gold ${gold}, ${before} → ${after} (${n})`].filter(Boolean).join(" · ");
  const kindOfChange = (r) => (r[at.cell] < 0 ? "" : data.cells[r[at.cell]][2]);
  const says = (r, test) => r[at.reviews].some(([, mark, label, blind, category, coherent]) => test({ mark, label, blind, category, coherent }));
  const REVIEWS = [
    ["yes", "reviewed", (r) => r[at.reviews].length > 0], ["none", "not reviewed", (r) => !r[at.reviews].length],
    ["wrong", "gold label called wrong", (r) => says(r, (s) => s.mark === "wrong_label")],
    ["coherent", "reasoning coherent", (r) => says(r, (s) => s.coherent === "yes")],
    ["incoherent", "reasoning not coherent", (r) => says(r, (s) => s.coherent === "no")],
    ...[...new Set(rows.flatMap((r) => r[at.reviews].map((s) => s[4]).filter(Boolean)))].sort()
      .map((name) => [`is-${name}`, `failure: ${name}`, (r) => says(r, (s) => s.category === name)]),
  ];
  const reviewed = rows.some((r) => r[at.reviews].length);
  const lists = {
    change: data.cells.length ? Object.entries(NAMES).filter(([kind]) => data.cells.some((c) => c[2] === kind)) : [],
    review: reviewed ? REVIEWS.map(([key, name, test]) => [key, `${name} (${rows.filter(test).length})`]).filter(([, name]) => !name.endsWith(" (0)")) : [],
    run: present(data.runs, used("run")), task: present(data.tasks.map((t) => t.name), used("task")),
    outcome: present(data.outcomes, used("outcome")), policy: present(data.policies, policies),
    category: present(data.categories, used("category")),
  };
  fill("f-run", "all", lists.run);
  fill("f-task", "all", lists.task);
  fill("f-outcome", "all", lists.outcome);
  fill("f-policy", "any", lists.policy);
  fill("f-category", "all", lists.category);
  fill("f-change", "all", [...lists.change, ...(data.listCells ? data.cells.map((cell, i) => [`c${i}`, cellName(cell)]) : [])]);
  fill("f-review", "all", lists.review);
  const modes = named(data.modes).filter(([, name]) => !KINDS.some(([, kind]) => kind === name));
  fill("f-error", "all", [
    ["wrong", `wrong or none (${counted(1) + counted(2) + counted(3)})`],
    ...KINDS.map(([, name], i) => [`k${i}`, `${name} (${counted(i)})`]).filter((_, i) => counted(i)),
    ...modes.map(([i, name]) => [`m${i}`, name]),
  ]);
  const SORTS = [
    ["", "as in the source"], ["-score", "score, high first"], ["score", "score, low first"],
    ["margin", "margin, small first"], ["-margin", "margin, large first"], ["-apart", "disagreement, large first"],
    ["-latency", "latency, long first"],
  ];
  byId("f-sort").append(...SORTS.filter(([key]) => (hasScore || !/score|margin/.test(key)) && (hasApart || key !== "-apart")).map(([k, n]) => new Option(n, k)));
  for (const box of document.querySelectorAll("[data-for]")) {
    const name = box.dataset.for;
    box.hidden = name === "score" ? !hasScore : lists[name].length < (["policy", "category", "change", "review"].includes(name) ? 1 : 2);
  }

  const haystack = (r) => {
    const places = [r[at.prompt], r[at.response], r[at.raw], ...r[at.steps].map((s) => s[1]), ...r[at.votes].map((v) => v[6]), ...r[at.reviews].map((s) => s[6])];
    return places.filter((i) => i >= 0);
  };
  const keyOf = { score: (r) => r[at.score], margin, apart: (r) => r[at.apart], latency: (r) => r[at.latency] };
  const sorted = (found, sort) => {
    if (!sort) return found;
    const down = sort.startsWith("-"), key = keyOf[sort.replace("-", "")];
    const values = new Map(found.map((i) => [i, key(rows[i])]));
    return found.sort((a, b) => {
      const x = values.get(a), y = values.get(b);
      if (x === null || y === null) return x === y ? a - b : x === null ? 1 : -1; // what is not known comes last
      return (down ? y - x : x - y) || a - b;
    });
  };
  const picked = (id) => (byId(id).value === "" ? null : Number(byId(id).value));
  let found = [], chosen = 0;
  const filter = () => {
    const [run, task, outcome, policy, category] = ["f-run", "f-task", "f-outcome", "f-policy", "f-category"].map(picked);
    const wanted = byId("f-text").value.trim().toLowerCase(), error = byId("f-error").value;
    const change = byId("f-change").value, review = REVIEWS.find(([key]) => key === byId("f-review").value);
    const low = picked("f-low"), high = picked("f-high"), of = Number(error.slice(1));
    const hits = new Uint8Array(wanted ? strings.length : 0); // a text that several rows share is searched once
    if (wanted) for (let i = 0; i < strings.length; i++) hits[i] = folded(i).includes(wanted) ? 1 : 0;
    found = [];
    for (let i = 0; i < rows.length; i++) {
      const r = rows[i];
      if (run !== null && r[at.run] !== run) continue;
      if (task !== null && r[at.task] !== task) continue;
      if (outcome !== null && r[at.outcome] !== outcome) continue;
      if (category !== null && r[at.category] !== category) continue;
      if (policy !== null && !r[at.policies].includes(policy) && !r[at.goldPolicies].includes(policy)) continue;
      if (low !== null && !(r[at.score] !== null && r[at.score] >= low)) continue;
      if (high !== null && !(r[at.score] !== null && r[at.score] <= high)) continue;
      if (change && change !== `c${r[at.cell]}` && change !== kindOfChange(r)) continue;
      if (review && !review[2](r)) continue;
      if (error === "wrong" && (kinds[i] === 0 || kinds[i] === 4)) continue;
      if (error[0] === "k" && kinds[i] !== of) continue;
      if (error[0] === "m" && !r[at.modes].includes(of)) continue;
      if (wanted && !r[at.id].toLowerCase().includes(wanted) && !haystack(r).some((p) => hits[p])) continue;
      found.push(i);
    }
    found = sorted(found, byId("f-sort").value);
    byId("count").textContent = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} samples`;
    byId("list").scrollTop = 0;
    choose(0);
  };

  // ---- the list: only what is in view is in the document ----
  const HEIGHT = 56, SPARE = 6;
  const list = byId("list"), holder = byId("rows");
  const tag = (i) => make("span", `tag ${KINDS[kinds[i]][0]}`, KINDS[kinds[i]][1]);
  const line = (place) => {
    const i = found[place], r = rows[i];
    const facts = make("p", "meta", tag(i), make("span", "", `gold ${word(r, r[at.gold])}`));
    facts.append(make("span", "id", data.runs.length > 1 ? `${data.runs[r[at.run]]} · ${r[at.id]}` : r[at.id]));
    facts.append(make("span", "", r[at.score] === null ? data.outcomes[r[at.outcome]] : number(r[at.score])));
    const row = make("div", "row", facts, make("p", "", text(r[at.prompt]).slice(0, 240) || r[at.id]));
    row.style.top = `${place * HEIGHT}px`;
    row.id = `row-${place}`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(place === chosen));
    row.setAttribute("aria-posinset", String(place + 1));
    row.setAttribute("aria-setsize", String(found.length));
    row.dataset.place = String(place);
    return row;
  };
  const draw = () => {
    holder.style.height = `${found.length * HEIGHT}px`;
    const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - SPARE);
    const last = Math.min(found.length, Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + SPARE);
    const lines = [];
    for (let place = first; place < last; place++) lines.push(line(place));
    holder.replaceChildren(...lines);
    if (!found.length) holder.replaceChildren(make("p", "empty", "No sample is like that."));
    if (found.length) list.setAttribute("aria-activedescendant", `row-${chosen}`);
    else list.removeAttribute("aria-activedescendant");
  };
  const choose = (place) => {
    chosen = Math.max(0, Math.min(place, found.length - 1));
    const top = chosen * HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + HEIGHT - list.clientHeight;
    draw();
    show();
  };

  // ---- one sample ----
  const passage = (title, body) => (body ? [make("h4", "", title), make("p", "text", body)] : []);
  const steps = (of) => of.flatMap(([name, i]) => passage(name, text(i)));
  const names = (of) => (of.length ? of.map((i) => data.policies[i]).join(", ") : "none");
  const facts = (pairs) => {
    const all = make("dl", "");
    for (const [name, value] of pairs) if (value !== null) all.append(make("dt", "", name), make("dd", "", value));
    return all;
  };
  const vote = (r, [member, outcome, label, score, weight, said, raw, of]) =>
    make("div", "vote",
      facts([["member", member], ["said", label < 0 ? data.outcomes[outcome] : word(r, label)],
        ["P(positive)", score === null ? null : number(score)], ["weight", weight === 1 ? null : number(weight)],
        ["policies", said.length ? names(said) : null]]),
      ...steps(of), ...passage("answer", text(raw)));
  const said = ([reviewer, mark, label, blind, category, coherent, comment, members]) =>
    make("div", "vote",
      facts([["reviewer", reviewer], ["gold label", mark === "wrong_label" ? "wrong label" : mark],
        ["own label", label === null ? null : `${label}${blind ? " (blind)" : ""}`], ["failure", category], ["reasoning coherent", coherent],
        ...members.map(([name, value]) => [`reasoning of ${name} coherent`, value])]),
      ...passage("comment", text(comment)));
  const show = () => {
    const pane = byId("detail");
    pane.scrollTop = 0;
    if (!found.length) return pane.replaceChildren(make("p", "empty", "Nothing is chosen."));
    const i = found[chosen], r = rows[i], answered = r[at.label] >= 0;
    pane.replaceChildren(
      make("h3", "", make("bdi", "", r[at.id])),
      facts([
        ["judged", tag(i)],
        ["gold", word(r, r[at.gold])],
        ["verdict", answered ? word(r, r[at.label]) : data.outcomes[r[at.outcome]]],
        ["P(positive)", r[at.score] === null ? null : `${number(r[at.score])} (margin ${number(margin(r))})`],
        ["disagreement", r[at.apart] === null ? null : number(r[at.apart])],
        ["gold policies", data.policies.length ? names(r[at.goldPolicies]) : null],
        ["policies said", answered && data.policies.length ? names(r[at.policies]) : null],
        ["categories said", r[at.codes].length ? r[at.codes].map(text).join(", ") : null],
        ["changed", r[at.cell] < 0 ? null : `${NAMES[kindOfChange(r)]}: ${data.cells[r[at.cell]][4]} in ${data.runs[0]}`],
        ["category", r[at.category] < 0 ? null : data.categories[r[at.category]]],
        ["failure modes", r[at.modes].length ? r[at.modes].map((m) => data.modes[m]).join(", ") : null],
        ["run", data.runs.length > 1 ? data.runs[r[at.run]] : null],
        ["task", data.tasks.length > 1 ? data.tasks[r[at.task]].name : null],
        ["latency", r[at.latency] === null ? null : `${r[at.latency].toPrecision(3)} s`],
        ["notes", r[at.notes].length ? r[at.notes].map(text).join("; ") : null],
      ]),
      ...passage("prompt", text(r[at.prompt])),
      ...passage("response", text(r[at.response])),
      ...steps(r[at.steps]),
      ...passage(answered || r[at.raw] < 0 ? "answer" : "what was heard", text(r[at.raw])),
      ...(r[at.votes].length ? [make("h4", "", "votes")] : []),
      ...r[at.votes].map((v) => vote(r, v)),
      ...(r[at.reviews].length ? [make("h4", "", "reviews")] : []),
      ...r[at.reviews].map(said),
    );
  };

  // ---- keys and pointer ----
  const page = () => Math.max(1, Math.floor(list.clientHeight / HEIGHT) - 1);
  const MOVES = { ArrowDown: () => 1, ArrowUp: () => -1, PageDown: page, PageUp: () => -page(), Home: () => -rows.length, End: () => rows.length };
  list.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in MOVES) choose(chosen + MOVES[event.key]());
    else if (event.key === "Enter") byId("detail").focus();
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing) byId("f-text").focus();
    else if (event.key === "Escape" && byId("browser").contains(document.activeElement)) list.focus();
    else return;
    event.preventDefault();
  });
  list.addEventListener("scroll", draw, { passive: true });
  list.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row) choose(Number(row.dataset.place));
  });
  const form = document.querySelector(".filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
    event.preventDefault();
    list.focus();
  });
  form.addEventListener("input", filter);
  byId("f-reset").addEventListener("click", () => { form.reset(); filter(); });
  for (const link of document.querySelectorAll(".behind a")) link.addEventListener("click", (event) => {
    event.preventDefault();
    form.reset();
    const wanted = { "f-run": link.dataset.run, "f-task": link.dataset.task, "f-change": link.dataset.change };
    for (const [id, value] of Object.entries(wanted)) if (byId(id).querySelector(`option[value="${value}"]`)) byId(id).value = value;
    filter();
    byId("samples").scrollIntoView();
    list.focus({ preventScroll: true });
  });
  addEventListener("resize", draw);
  filter();
})();
