// The researcher's text as parts of the page: headings, paragraphs, lists, **bold**, *slanted*, [links](...).
// Everything else is shown as it is written; nothing of it is ever read as HTML.

import { html } from "../html.js";

const SPAN = /\*\*(.+?)\*\*|\*(\S.*?)\*|\[([^\]]+)\]\(([^()\s]+)\)/;
const SAFE = /^(https?:\/\/|mailto:)/i;

function spans(text) {
  const found = SPAN.exec(text);
  if (!found) return text;
  const [whole, bold, slanted, words, target] = found;
  const shown = bold ? html`<b>${spans(bold)}</b>` : slanted ? html`<em>${spans(slanted)}</em>`
    : SAFE.test(target) ? html`<a href=${target} target="_blank" rel="noopener noreferrer">${words}</a>` : whole;
  return [text.slice(0, found.index), shown, spans(text.slice(found.index + whole.length))];
}

function block(lines) {
  const heading = /^(#{1,3})\s+(.*)$/.exec(lines[0]);
  if (heading) return [html`<h2>${spans(heading[2])}</h2>`, ...(lines.length > 1 ? [block(lines.slice(1))] : [])];
  const at = lines.findIndex((line) => /^\s*[-*]\s/.test(line));
  if (at > 0) return [block(lines.slice(0, at)), block(lines.slice(at))];
  if (at < 0) return html`<p>${spans(lines.join(" "))}</p>`;
  const items = [];
  for (const line of lines) {
    if (/^\s*[-*]\s/.test(line)) items.push(line.replace(/^\s*[-*]\s+/, ""));
    else items.push(`${items.pop()} ${line.trim()}`);
  }
  return html`<ul>${items.map((item) => html`<li>${spans(item)}</li>`)}</ul>`;
}

export const Text = ({ text }) =>
  text.trim().split(/\n\s*\n/).map((part) => block(part.split("\n").filter((line) => line.trim())));
