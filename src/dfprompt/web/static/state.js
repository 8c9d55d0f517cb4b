// Everything the page knows, and everything it can do. The text is the truth: bars, chips and steps are what
// the server reads in it, and every drag is a change that the server makes to the text.

import { batch, computed, signal } from "./vendor/signals-core.mjs";
import { call, listen } from "./wire.js";

export const server = signal({ ready: false, lexicon: {}, defaults: {}, seeds: 4, seed: 0 });
export const online = signal(true);
export const locked = signal(false); // no token, or another run's
export const side = signal("text"); // which text the timeline shows: "text" or "negative"
export const texts = signal({ text: "", negative: "" });
export const documents = signal({ text: null, negative: null });
export const problems = signal({ text: null, negative: null });
export const drag = signal(null); // what a drag shows before the server has answered
export const lifted = signal(null); // the bar that is carried to another place, and which
export const cursor = signal(null); // the step that is looked at
export const settings = signal({});
export const seeds = signal([0, 1, 2, 3]);
export const locks = signal([]); // words of bars that stay as they are
export const jobs = signal(new Map());
export const drawings = signal(new Map());
export const total = signal(0);
export const search = signal("");
export const current = signal(null); // the drawing that is shown
export const standings = signal([]);
export const seed = signal(null); // the seed that is shown large
export const view = signal("side");
export const pair = signal(null); // the two labels of the slider
export const suggestions = signal(null);
export const bans = signal([]);
export const withRewrite = signal(false);
export const panel = signal(null); // which helper is open
export const historyOpen = signal(matchMedia("(min-width: 1100px)").matches);
export const toast = signal(null);
export const said = signal(""); // for screen readers
export const past = signal([]);
export const future = signal([]);
export const tour = signal(0);

export const document_ = computed(() => documents.value[side.value]);
export const running = computed(() => [...jobs.value.values()].filter((job) => job.state === "running" || job.state === "waiting"));

export const dropped = signal(null); // a picture that waits for a decision
export const reference = signal(null);
export const strips = signal(new Map()); // what pictures looked like at each step

export const wanted = () => Object.fromEntries(Object.entries(settings.value).filter(([, value]) => value !== "" && value != null));

// ---- telling -------------------------------------------------------------------------------------------

let toasting = 0;
export function tell(message, kind = "note") {
  toast.value = { message, kind };
  said.value = message;
  clearTimeout(toasting);
  toasting = setTimeout(() => (toast.value = null), kind === "error" ? 12000 : 4000);
}
export const complain = (error) => tell(error.message, "error");

// ---- reading -------------------------------------------------------------------------------------------

// One request in flight per text; of those that come meanwhile the last one goes next.
const flights = { text: { busy: false, next: null }, negative: { busy: false, next: null } };

const OVERTAKEN = new Error("another request went first");

function ask(which, body, done) {
  const flight = flights[which];
  flight.next?.done(null, OVERTAKEN);
  flight.next = { body, done };
  if (flight.busy) return;
  flight.busy = true;
  (async () => {
    while (flight.next) {
      const { body, done } = flight.next;
      flight.next = null;
      try {
        const { document } = await call("/api/read", { settings: wanted(), ...body });
        batch(() => done(document));
      } catch (error) {
        if (error.status === 403) locked.value = true;
        done(null, error);
      }
    }
    flight.busy = false;
  })();
}

function keep(which, document) {
  const failed = document.error;
  problems.value = { ...problems.value, [which]: failed ? { ...failed, text: document.text } : null };
  if (!failed) documents.value = { ...documents.value, [which]: keptBars(documents.value[which], document) };
}

// Bars that say what they said are the ones there were, and are not drawn again.
function keptBars(before, document) {
  const told = new Map((before?.bars || []).map((bar) => [JSON.stringify(bar), bar]));
  return { ...document, bars: document.bars.map((bar) => told.get(JSON.stringify(bar)) || bar) };
}

export function read(which = side.value) {
  const text = texts.value[which];
  ask(which, { text }, (document, error) => {
    if (error) return error === OVERTAKEN || complain(error);
    if (texts.value[which] === document.text) keep(which, document);
  });
}

// ---- writing -------------------------------------------------------------------------------------------

let lastKind = "";
let lastTime = 0;
function remember(kind) {
  const now = performance.now();
  if (kind !== "type" || lastKind !== "type" || now - lastTime > 700) {
    past.value = [...past.value.slice(-199), { ...texts.value, settings: settings.value }];
    future.value = [];
  }
  lastKind = kind;
  lastTime = now;
}

export function write(text, kind = "type", which = side.value) {
  if (text === texts.value[which]) return;
  remember(kind);
  texts.value = { ...texts.value, [which]: text };
  read(which);
  save();
}

export function change(body, { from, live = false, which = side.value } = {}) {
  const text = from ?? texts.value[which];
  return new Promise((resolve) =>
    ask(which, { text, change: body }, (document, error) => {
      if (error && error !== OVERTAKEN) complain(error);
      if (error || (!live && texts.value[which] !== text)) return resolve(null); // written over meanwhile
      if (document.text !== texts.value[which]) {
        if (!live) remember("change");
        texts.value = { ...texts.value, [which]: document.text };
      }
      keep(which, document);
      save();
      resolve(document);
    }),
  );
}

export function dragging(kind) {
  remember(kind);
  return texts.value[side.value];
}

function travel(from, to) {
  if (!from.value.length) return;
  const there = from.value.at(-1);
  batch(() => {
    to.value = [...to.value, { ...texts.value, settings: settings.value }];
    from.value = from.value.slice(0, -1);
    texts.value = { text: there.text, negative: there.negative };
    settings.value = there.settings;
  });
  lastKind = "";
  read("text");
  read("negative");
  save();
}
export const undo = () => travel(past, future);
export const redo = () => travel(future, past);

export const isLocked = (bar) => locks.value.includes(bar.words);
export function toggleLock(bar) {
  locks.value = isLocked(bar) ? locks.value.filter((words) => words !== bar.words) : [...locks.value, bar.words];
  save();
}

const muted = new Map(); // words -> the weight they had
export function toggleMute(number, bar) {
  const off = bar.weight[0] === 0 && bar.weight[1] === 0;
  if (!off) muted.set(bar.words, bar.weight);
  const weight = off ? muted.get(bar.words) || [1, 1] : 0;
  return change({ do: "weight", bar: number, weight: Array.isArray(weight) && weight[0] === weight[1] ? weight[0] : weight });
}

export function setSettings(values) {
  remember("settings");
  settings.value = { ...settings.value, ...values };
  read("text");
  if (texts.value.negative) read("negative");
  save();
}

// ---- drawing -------------------------------------------------------------------------------------------

const isJobOf = (kind) => (job) => job.kind === kind && (job.state === "running" || job.state === "waiting");
export const busy = (kind) => [...jobs.value.values()].some(isJobOf(kind));

export async function draw({ columns, kind = "draw", plain } = {}) {
  const { text, negative } = texts.value;
  const shown = columns || [
    ...(withRewrite.value && suggestions.value?.candidates.length
      ? [{ label: "rewrite", text: suggestions.value.candidates[0].text }]
      : []),
    { label: "yours", text },
  ];
  try {
    const { drawing, job } = await call("/api/draw", {
      text, negative, kind, columns: shown, seeds: seeds.value, settings: wanted(), parent: current.value,
      ...(plain ? { plain } : {}),
    });
    batch(() => {
      take(drawing);
      takeJob(job);
      show(drawing.id);
      said.value = `drawing ${drawing.seeds.length} seeds`;
    });
    return drawing;
  } catch (error) {
    complain(error);
  }
}

export async function drawAll() {
  if (withRewrite.value && suggestions.value?.for !== texts.value.text) {
    await suggest();
    await settled("suggest");
  }
  return draw();
}

const settled = (kind) =>
  new Promise((resolve) => {
    const stop = jobs.subscribe(() => {
      if (!busy(kind)) {
        setTimeout(() => stop?.());
        resolve();
      }
    });
  });

export const cancel = (job) => call(`/api/jobs/${job.id}`, undefined, "DELETE").catch(complain);
export const resume = (id) => call(`/api/history/${id}/resume`, {}).catch(complain);

export async function suggest(extra = {}) {
  try {
    takeJob((await call("/api/suggest", { text: texts.value.text, candidates: 3, ban: bans.value, ...extra })).job);
  } catch (error) {
    complain(error);
  }
}

// ---- history -------------------------------------------------------------------------------------------

let heard = new Map(); // what came while the history was asked for: newer than its answer

function take(drawing) {
  heard.set(drawing.id, drawing);
  drawings.value = new Map(drawings.value).set(drawing.id, drawing);
  if (current.value === drawing.id && !drawing.missing) summarize(drawing.id);
}

async function summarize(id) {
  try {
    const answer = await call(`/api/history/${id}`);
    if (current.value === id) standings.value = answer.standings;
  } catch (error) {
    standings.value = [];
  }
}

export function show(id) {
  const drawing = drawings.value.get(id);
  if (!drawing) return;
  batch(() => {
    current.value = id;
    if (!drawing.seeds.includes(seed.value)) seed.value = drawing.seeds[0];
    if (!pair.value || !pair.value.every((label) => labels(drawing).includes(label))) {
      pair.value = ["plain", labels(drawing).at(-1)];
    }
    standings.value = [];
  });
  if (!drawing.missing) summarize(id);
  save();
}

export const labels = (drawing) => ["plain", ...drawing.columns.map(([label]) => label)];

export function restore(id) {
  const drawing = drawings.value.get(id);
  remember("restore");
  batch(() => {
    texts.value = { text: drawing.text, negative: drawing.negative || "" };
    seeds.value = drawing.seeds;
    settings.value = drawing.settings;
  });
  read("text");
  read("negative");
  show(id);
  tell("Restored. Undo brings back what stood here.");
}

export async function forget(id) {
  try {
    await call(`/api/history/${id}`, undefined, "DELETE");
  } catch (error) {
    complain(error);
  }
}

let looking = 0;
export async function look(words = search.value) {
  search.value = words;
  const turn = ++looking;
  heard = new Map();
  try {
    const answer = await call(`/api/history?search=${encodeURIComponent(words)}`);
    if (turn !== looking) return;
    const rows = new Map(answer.drawings.map((drawing) => [drawing.id, drawing]));
    for (const [id, drawing] of heard) {
      if (!drawing) rows.delete(id);
      else if (!words || rows.has(id)) rows.set(id, drawing);
    }
    batch(() => {
      drawings.value = rows;
      total.value = answer.total;
    });
  } catch (error) {
    complain(error);
  }
}

// ---- events --------------------------------------------------------------------------------------------

function takeJob(job) {
  const before = jobs.value.get(job.id);
  jobs.value = new Map(jobs.value).set(job.id, job);
  if (before?.state === job.state) return;
  if (job.state === "failed") tell(job.message, "error");
  if (job.kind === "draw" && job.state === "done") said.value = "The pictures are drawn.";
  if (job.kind === "strip" && job.state === "done") {
    const { drawing, label, seed } = job.result;
    strips.value = new Map(strips.value).set(`${drawing}/${label}/${seed}`, job.result);
  }
  if (job.kind === "suggest" && job.state === "done") {
    suggestions.value = job.result;
    panel.value = "suggest";
  }
}

function hear(event) {
  if (event.type === "jobs") jobs.value = new Map(event.jobs.map((job) => [job.id, job]));
  if (event.type === "job") takeJob(event.job);
  if (event.type === "drawing") take(event.drawing);
  if (event.type === "removed") {
    heard.set(event.id, null);
    const left = new Map(drawings.value);
    left.delete(event.id);
    drawings.value = left;
    if (current.value === event.id) current.value = null;
  }
  if (event.type === "state") {
    server.value = event.state;
    read("text");
  }
}

// ---- keeping -------------------------------------------------------------------------------------------

const DRAFT = "dfprompt-draft";
let saving = 0;
export function save() {
  clearTimeout(saving);
  saving = setTimeout(() => {
    const draft = JSON.stringify({
      texts: texts.value, settings: settings.value, seeds: seeds.value, locks: locks.value, current: current.value,
      bans: bans.value, withRewrite: withRewrite.value, view: view.value, tour: tour.value,
    });
    sessionStorage.setItem(DRAFT, draft); // this tab's, so that two tabs keep apart
    localStorage.setItem(DRAFT, draft); // for the next tab
  }, 150);
}

function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(DRAFT) || localStorage.getItem(DRAFT) || "null");
  } catch {
    return null;
  }
}

const EXAMPLE = "a red house in the snow, [watercolor:late]";

export async function begin() {
  const draft = recall();
  batch(() => {
    texts.value = draft?.texts || texts.value;
    seeds.value = draft?.seeds || seeds.value;
    settings.value = draft?.settings || {};
    locks.value = draft?.locks || [];
    bans.value = draft?.bans || [];
    withRewrite.value = Boolean(draft?.withRewrite);
    view.value = draft?.view || "side";
    tour.value = draft?.tour || 0;
  });
  const given = seeds.value;
  try {
    server.value = (await call("/api/state")).state;
  } catch (error) {
    if (error.status === 403) locked.value = true;
    else complain(error);
    return;
  }
  // Only what nobody touched is filled: people type faster than a busy server answers.
  if (!draft && seeds.value === given) seeds.value = Array.from({ length: server.value.seeds }, (_, index) => server.value.seed + index);
  if (!draft && !past.value.length) texts.value = { text: server.value.tour ? EXAMPLE : "", negative: server.value.negative };
  read("text");
  if (texts.value.negative) read("negative");
  listen(hear, (up, refused) => {
    online.value = up;
    if (refused) locked.value = true;
  });
  await look("");
  if (current.value) return;
  const newest = drawings.value.keys().next().value;
  if (newest) show(draft?.current && drawings.value.has(draft.current) ? draft.current : newest);
  else if (server.value.tour && texts.value.text === EXAMPLE) draw();
}

// The same seeds without one bracket: what those words did.
export async function attribute(index, bar) {
  const { text } = texts.value;
  try {
    const { document } = await call("/api/read", { text, settings: wanted(), change: { do: "remove", bar: index } });
    const label = `without ${bar.words}`.slice(0, 60);
    const drawing = await draw({
      kind: "without", plain: documents.value.text?.plain,
      columns: [{ label, text: document.text }, { label: "yours", text }],
    });
    // Without its only words a prompt is plain, and that column stands there already.
    if (drawing) pair.value = [labels(drawing).includes(label) ? label : "plain", "yours"];
  } catch (error) {
    complain(error);
  }
}

export function ban(words, on = true) {
  bans.value = on ? [...new Set([...bans.value, words])] : bans.value.filter((each) => each !== words);
  save();
  suggest();
}

export function setSeeds(first, count) {
  const start = Math.max(0, Math.floor(first) || 0);
  seeds.value = Array.from({ length: Math.max(1, Math.min(64, Math.floor(count) || 1)) }, (_, index) => start + index);
  save();
}

export function apply(found) {
  remember("apply");
  batch(() => {
    texts.value = { text: found.text, negative: found.negative };
    settings.value = { ...settings.value, ...found.settings };
  });
  if (found.seed != null) setSeeds(found.seed, seeds.value.length);
  read("text");
  read("negative");
  save();
  tell("Applied. Undo brings back what stood here.");
}

export async function tune(images, keep = []) {
  const { text, negative } = texts.value;
  try {
    takeJob((await call("/api/tune", { text, negative, images, keep, settings: wanted() })).job);
  } catch (error) {
    complain(error);
  }
}

export async function strip(drawing, label, seed) {
  try {
    takeJob((await call("/api/strip", { drawing, label, seed })).job);
  } catch (error) {
    complain(error);
  }
}

export function hideStrip({ drawing, label, seed }) {
  const left = new Map(strips.value);
  left.delete(`${drawing}/${label}/${seed}`);
  strips.value = left;
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell("Copied.");
  } catch {
    tell(`The browser keeps the clipboard to itself; select and copy this:\n${text}`, "error");
  }
}

export async function copyCommand(name) {
  try {
    const { text, negative } = texts.value;
    copy((await call("/api/export", { text, negative, seeds: seeds.value, settings: wanted() })).commands[name]);
  } catch (error) {
    complain(error);
  }
}
