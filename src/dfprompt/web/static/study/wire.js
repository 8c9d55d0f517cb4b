// How a participant's page talks to the server, and what this device remembers so that one can go on later.

const KEY = "study";
let memory = {}; // where a browser keeps nothing for us

export function remembered() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) || {};
  } catch {
    return memory;
  }
}

export function remember(values) {
  memory = { ...remembered(), ...values };
  try {
    localStorage.setItem(KEY, JSON.stringify(memory));
  } catch {}
}

// How this person came: by a link of their own, or with a platform's parameters. They leave the address bar.
export function arrival() {
  const link = /^#([\w-]+)$/.exec(location.hash);
  const query = Object.fromEntries(new URLSearchParams(location.search));
  history.replaceState(null, "", location.pathname);
  if (link) return { link: link[1] };
  if (Object.keys(query).length) return { query };
  return null;
}

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const LOST = "The study cannot be reached. Please check your connection; what you have answered is kept.";

export async function ask(path, body) {
  const options = { headers: { "x-dfprompt-token": remembered().token || "" }, cache: "no-store" };
  if (body !== undefined) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Refused(0, LOST);
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  throw new Refused(response.status, answer.error?.message || LOST);
}

export const call = async (path, body) => (await ask(path, body)).json();

// Pictures by their pair and their side; the next pair's are fetched while this one is looked at.
const pairs = new Map();

async function fetchPair(trial) {
  const sides = ["left", "right"].map(async (side) => URL.createObjectURL(await (await ask(`/api/pictures/${trial}/${side}`)).blob()));
  const [left, right] = await Promise.all(sides);
  return { left, right };
}

export function picturesOf(trial) {
  if (!pairs.has(trial)) {
    const fetched = fetchPair(trial);
    pairs.set(trial, fetched);
    fetched.catch(() => pairs.delete(trial));
  }
  return pairs.get(trial);
}

export function dropOthers(trials) {
  for (const [trial, shown] of pairs) {
    if (trials.includes(trial)) continue;
    pairs.delete(trial);
    shown.then(({ left, right }) => [left, right].forEach((address) => URL.revokeObjectURL(address)), () => {});
  }
}
