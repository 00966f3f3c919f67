// The page of the service: load, sessions, and the newest steps of one of them.

import { get, make } from "./service.js";

const SECOND = 1000;
const SAMPLES = 120;
const WIDTH = 1000;
const HEIGHT = 100;
const part = (id) => document.getElementById(id);

const view = {
  session: decodeURIComponent(location.hash.slice(1)),
  recent: null,
  cursor: null, // index of the step under the pointer; null for the newest
  samples: [], // counters of the last two minutes
};

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2);
  return digits.format(value);
}

function milliseconds(seconds) {
  if (seconds === null) return "–";
  return `≤ ${digits.format(seconds * 1000)} ms`;
}

function ago(seconds) {
  if (seconds < 2) return "now";
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

function setText(id, text) {
  // Equal text is not written again, so screen readers stay silent.
  if (part(id).textContent !== text) part(id).textContent = text;
}

function setState(text, bad) {
  setText("state", text);
  part("state").classList.toggle("bad", bad);
}

// Lines

function svg(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function range(values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (!known.length) return [0, 1];
  return [Math.min(...known), Math.max(...known)];
}

function path(values, [low, high]) {
  const step = WIDTH / Math.max(values.length - 1, 1);
  let pen = "M";
  let text = "";
  values.forEach((value, index) => {
    if (value === null || value === undefined) {
      pen = "M";
      return;
    }
    const x = values.length === 1 ? WIDTH : index * step;
    // A constant is a line in the middle.
    const share = high > low ? (value - low) / (high - low) : 0.5;
    const y = HEIGHT - share * HEIGHT;
    text += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    // A point by itself would be invisible.
    if (pen === "M") text += `h0.01`;
    pen = "L";
  });
  return text;
}

function line(values, limits, label) {
  const drawing = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": label,
  });
  drawing.append(svg("path", { d: `M0 ${HEIGHT}H${WIDTH}`, class: "base" }));
  drawing.append(svg("path", { d: path(values, limits) }));
  return drawing;
}

// Load

function quantile(bounds, counts, share) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  for (let i = 0; i < counts.length; i += 1) {
    seen += counts[i];
    if (total && seen >= share * total) return bounds[Math.min(i, bounds.length - 1)];
  }
  return null;
}

function showStatus(status) {
  const samples = view.samples;
  if (samples.length && status.uptime < samples.at(-1).uptime) samples.length = 0; // restarted
  samples.push(status);
  if (samples.length > SAMPLES + 1) samples.shift();
  setState(status.ready ? "Ready" : "States cannot be stored", !status.ready);
  setText("in-memory", whole.format(status.sessions_in_memory));
  setText("refused", `${whole.format(status.refused)} / ${whole.format(status.failed)}`);
  const rates = samples.slice(1).map((sample, i) => {
    const seconds = sample.uptime - samples[i].uptime;
    return Math.max(0, sample.steps - samples[i].steps) / Math.max(seconds, 0.001);
  });
  if (!rates.length) return;
  const shown = rates.slice(-3);
  const rate = shown.reduce((sum, value) => sum + value, 0) / shown.length;
  setText("rate", rate < 10 ? rate.toFixed(1) : whole.format(rate));
  // Of the last minute; of all requests if there was none.
  const first = samples[Math.max(0, samples.length - 61)].latencies.counts;
  const { bounds, counts } = status.latencies;
  const newest = counts.map((count, i) => count - first[i]);
  const used = newest.some((count) => count > 0) ? newest : counts;
  setText("p50", milliseconds(quantile(bounds, used, 0.5)));
  setText("p99", milliseconds(quantile(bounds, used, 0.99)));
  const padded = [...Array(SAMPLES - rates.length).fill(null), ...rates];
  const most = whole.format(Math.max(...rates));
  setText("most", `, at most ${most}`);
  const label = `Steps per second: ${whole.format(rates.at(-1))} now, at most ${most}`;
  part("throughput").replaceChildren(line(padded, [0, Math.max(1, ...rates)], label));
}

// Sessions

function showSessions(sessions, now) {
  // By id, because rows that move cannot be clicked.
  sessions.sort((a, b) => a.id.localeCompare(b.id, "en", { numeric: true }));
  part("empty").hidden = sessions.length > 0;
  const rows = [...part("list").rows];
  sessions.forEach((session, i) => {
    const row = rows[i] || part("list").appendChild(sessionRow());
    const button = row.cells[0].firstChild;
    if (button.textContent !== session.id) button.textContent = session.id;
    button.setAttribute("aria-current", String(session.id === view.session));
    row.cells[1].textContent = whole.format(session.step);
    row.cells[2].textContent = ago(now - session.seen);
  });
  rows.slice(sessions.length).forEach((row) => row.remove());
}

function sessionRow() {
  const button = make("button", { type: "button" });
  button.addEventListener("click", () => {
    choose(button.textContent);
    part("one").scrollIntoView({ block: "nearest" });
  });
  return make("tr", {}, make("td", {}, button), make("td"), make("td"));
}

function choose(id) {
  view.session = id;
  view.recent = null;
  view.cursor = null;
  history.replaceState(null, "", `#${encodeURIComponent(id)}`);
  part("one-heading").textContent = id;
  for (const button of part("list").querySelectorAll("button")) {
    button.setAttribute("aria-current", String(button.textContent === id));
  }
  for (const name of ["charts", "numbers", "readout"]) part(name).hidden = true;
  setText("hint", "Waiting for the next step of this session …");
  part("hint").hidden = false;
  refreshSession();
}

// One session

function showRecent(recent) {
  view.recent = recent;
  const any = recent.step.length > 0;
  part("hint").hidden = any;
  for (const name of ["charts", "numbers", "readout"]) part(name).hidden = !any;
  if (!any) return;
  const outputs = recent.outputs.map((name, i) => column(name, recent.y, i));
  const scores = outputs.filter(({ name }) => /score/i.test(name));
  const others = outputs.filter(({ name }) => !/score/i.test(name));
  const inputs = recent.inputs.map((name, i) => column(name, recent.x, i));
  part("charts").replaceChildren(
    ...group("Score", "score", scores),
    ...group("Inputs", "inputs", inputs),
    ...group("Outputs", "outputs", others),
  );
  showCursor();
  if (part("numbers").open) showTable(recent);
}

function column(name, rows, index) {
  return { name, values: rows.map((row) => row[index]) };
}

function group(title, kind, columns) {
  if (!columns.length) return [];
  const charts = columns.map(({ name, values }) => {
    const [low, high] = range(values);
    const newest = values.at(-1);
    const label = `${name}: newest ${number(newest)}, from ${number(low)} to ${number(high)} over ` +
      `${values.length} steps`;
    const value = make("b");
    value.dataset.values = JSON.stringify(values);
    return make("div", { class: `chart ${kind}` },
      make("div", { class: "label" }, name, value),
      line(values, [low, high], label),
      make("div", { class: "range", "aria-hidden": "true" },
        ...[high, low].slice(low === high).map((limit) => make("span", {}, number(limit)))));
  });
  return [make("h3", {}, title), ...charts];
}

function showCursor() {
  const recent = view.recent;
  const last = recent.step.length - 1;
  const index = view.cursor === null ? last : Math.min(view.cursor, last);
  const time = new Date(recent.time[index] * 1000).toLocaleTimeString();
  setText("readout", `Step ${whole.format(recent.step[index])} at ${time}` +
    `${view.cursor === null ? ", the newest" : ""} · ${last + 1} steps shown`);
  for (const value of part("charts").querySelectorAll("b")) {
    value.textContent = number(JSON.parse(value.dataset.values)[index]);
  }
  for (const drawing of part("charts").querySelectorAll("svg")) {
    drawing.querySelector(".cross")?.remove();
    if (view.cursor === null) continue;
    const x = (index / Math.max(last, 1)) * WIDTH;
    drawing.append(svg("path", { d: `M${x} 0V${HEIGHT}`, class: "cross" }));
  }
}

function showTable(recent) {
  const names = ["step", ...recent.inputs, ...recent.outputs];
  const head = make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name))));
  const rows = recent.step.map((step, i) => [step, ...recent.x[i], ...recent.y[i]]).slice(-20).reverse();
  const body = make("tbody", {}, ...rows.map((row) =>
    make("tr", {}, ...row.map((value, i) => make("td", {}, i ? number(value) : whole.format(value))))));
  part("table").replaceChildren(head, body);
}

function moveCursor(index) {
  const last = view.recent.step.length - 1;
  view.cursor = index >= last ? null : Math.max(0, index);
  showCursor();
}

part("charts").addEventListener("pointermove", (event) => {
  const drawing = part("charts").querySelector("svg");
  if (!view.recent || !drawing) return;
  const box = drawing.getBoundingClientRect();
  const share = (event.clientX - box.left) / box.width;
  if (share < 0 || share > 1) return;
  moveCursor(Math.round(share * (view.recent.step.length - 1)));
});
part("charts").addEventListener("pointerleave", () => {
  view.cursor = null;
  if (view.recent) showCursor();
});
part("charts").addEventListener("keydown", (event) => {
  if (!view.recent) return;
  const last = view.recent.step.length - 1;
  const now = view.cursor ?? last;
  const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  moveCursor(to);
});
part("charts").addEventListener("focus", () => part("readout").setAttribute("aria-live", "polite"));
part("charts").addEventListener("blur", () => part("readout").removeAttribute("aria-live"));
part("numbers").addEventListener("toggle", () => view.recent && showTable(view.recent));
part("open").addEventListener("submit", (event) => {
  event.preventDefault();
  const id = part("id").value.trim();
  if (id) choose(id);
});

// Refreshing

async function refreshSession() {
  const id = view.session;
  if (!id) return;
  try {
    const recent = await get(`v1/sessions/${encodeURIComponent(id)}/recent`);
    if (id === view.session) showRecent(recent);
  } catch (error) {
    setText("hint", error.message);
    part("hint").hidden = false;
  }
}

async function refresh() {
  try {
    const status = await get("v1/status");
    showStatus(status);
    // Times are those of the service, whose clock may differ.
    showSessions((await get("v1/sessions")).sessions, status.time);
  } catch (error) {
    setState("The service does not reply", true);
  }
  // Charts stand still while they are read step by step.
  if (view.cursor === null) await refreshSession();
}

async function repeat() {
  if (!document.hidden) await refresh();
  setTimeout(repeat, SECOND);
}

async function start() {
  try {
    const model = await get("v1/model");
    part("name").textContent = model.name;
    document.title = `${model.name} · seqkeras serve`;
    const store = model.store === "memory"
      ? "states in memory only: a restart loses them"
      : `states in ${model.store}, as durable as “${model.durability}”`;
    part("about").textContent = `${model.kind} ${model.fingerprint.slice(0, 12)} · ${store}`;
  } catch (error) {
    setState(error.message, true);
  }
  // A link cannot send the token.
  part("metrics").hidden = Boolean(sessionStorage.getItem("token"));
  if (view.session) choose(view.session);
  repeat();
}

start();
