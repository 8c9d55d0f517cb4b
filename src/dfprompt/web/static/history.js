// Every drawing that was made, newest first, each with what was changed in its words.

import { html, icon, Pure } from "./html.js";
import { Picture } from "./pictures.js";
import * as state from "./state.js";

// Words and brackets of two texts: what stayed, what went, what came. The longest common run decides.
export function difference(before, after) {
  const split = (text) => text.match(/\[[^\]]*\]|[^\s,\[\]]+|[\s,]+|./gu) || [];
  const [a, b] = [split(before), split(after)];
  if (a.length * b.length > 40000) return [{ kind: "same", text: after }];
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--) table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const parts = [];
  const push = (kind, text) => (parts.at(-1)?.kind === kind ? (parts.at(-1).text += text) : parts.push({ kind, text }));
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) push("same", (i++, b[j++]));
    else if (i < a.length && (j === b.length || table[i + 1][j] >= table[i][j + 1])) push("gone", a[i++]);
    else push("new", b[j++]);
  }
  return together(parts);
}

// A lone space between two changes belongs to both, or every word would change by itself.
function together(parts) {
  const joined = [];
  let gone = "";
  let come = "";
  const flush = () => {
    if (gone.trim()) joined.push({ kind: "gone", text: gone.trim() });
    if (come.trim()) joined.push({ kind: "new", text: come.trim() });
    gone = come = "";
  };
  parts.forEach(({ kind, text }, index) => {
    const between = kind === "same" && !text.trim() && index > 0 && index < parts.length - 1 && (gone || come);
    if (kind !== "new" && (kind === "gone" || between)) gone += text;
    if (kind !== "gone" && (kind === "new" || between)) come += text;
    if (kind === "same" && !between) {
      flush();
      joined.push({ kind, text });
    }
  });
  flush();
  return joined;
}

const TAGS = { same: "span", gone: "del", new: "ins" };
const when = (created) => new Date(created).toLocaleString(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

class Card extends Pure {
  render({ drawing, parent, shown, depth }) {
    const label = state.labels(drawing).at(-1);
    const face = drawing.pictures.find((each) => each.label === label && each.id) || drawing.pictures[0];
    const words = parent ? difference(parent.text, drawing.text) : [{ kind: "same", text: drawing.text }];
    return html`<li class=${`card ${shown ? "shown" : ""}`} style=${{ "--depth": depth }}>
      <button type="button" class="face" aria-current=${shown ? "true" : "false"} onClick=${() => state.show(drawing.id)}>
        <${Picture} id=${face?.id} alt="" />
        <span class="told"><span class="text">${words.map((part) => html`<${TAGS[part.kind]}>${part.text}<//>`)}</span>
        <small>${drawing.id}${parent ? ` from ${parent.id}` : ""} \u00b7 ${when(drawing.created)}${drawing.missing ? ` \u00b7 ${drawing.missing} missing` : ""}</small></span>
      </button>
      <span class="acts">
        <button type="button" class="quiet" title="Restore text, seeds and settings" aria-label=${`Restore drawing ${drawing.id}`} onClick=${() => state.restore(drawing.id)}>${icon("undo")}</button>
        <button type="button" class="quiet" title="Delete" aria-label=${`Delete drawing ${drawing.id}`} onClick=${() => confirm(`Delete drawing ${drawing.id} and its pictures?`) && state.forget(drawing.id)}>${icon("trash")}</button>
      </span>
    </li>`;
  }
}

// How far a drawing is from the stem: a chain of single changes is no branch.
function depths(drawings) {
  const children = new Map();
  for (const { id, parent } of drawings.values()) if (parent) children.set(parent, [...(children.get(parent) || []), id]);
  const found = new Map();
  for (const drawing of [...drawings.values()].sort((a, b) => a.id - b.id)) {
    const above = drawing.parent && drawings.has(drawing.parent) ? found.get(drawing.parent) || 0 : 0;
    const siblings = children.get(drawing.parent) || [];
    found.set(drawing.id, Math.min(3, above + (siblings.indexOf(drawing.id) > 0 ? 1 : 0)));
  }
  return found;
}

export class History extends Pure {
  render({ drawings, current, search, total }) {
    const depth = depths(drawings);
    const listed = [...drawings.values()].sort((a, b) => b.id - a.id);
    return html`<aside class="history" aria-label="History">
      <header><h2>History</h2><button type="button" class="quiet only-narrow" aria-label="Close the history" onClick=${() => (state.historyOpen.value = false)}>${icon("close")}</button></header>
      <input type="search" placeholder="Search words" aria-label="Search the history" value=${search} onInput=${(event) => state.look(event.target.value)} />
      ${listed.length === 0 && html`<p class="hint">${search ? "No drawing has these words." : "Every drawing is kept here."}</p>`}
      <ol>${listed.map((drawing) => html`<${Card} key=${drawing.id} drawing=${drawing} parent=${drawings.get(drawing.parent)} shown=${drawing.id === current} depth=${depth.get(drawing.id)} />`)}</ol>
      ${total > listed.length && html`<p class="hint">${total - listed.length} older ones: search for their words.</p>`}
    </aside>`;
  }
}
