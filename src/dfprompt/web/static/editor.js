// The prompt as text. What one types into is a plain text field; behind it lies the same text, letter on
// letter, with its brackets as chips.

import { Component, html, hue, icon, pure } from "./html.js";
import * as state from "./state.js";

// The stretches of the text as it stands: the last ones read, with what was typed since in between.
export function stretches(text, document) {
  if (!document) return [{ text }];
  const old = document.text;
  if (old === text) return document.pieces;
  let head = 0;
  while (head < old.length && head < text.length && old[head] === text[head]) head++;
  let tail = 0;
  while (tail < old.length - head && tail < text.length - head && old.at(-1 - tail) === text.at(-1 - tail)) tail++;
  const before = [];
  const after = [];
  let at = 0;
  for (const piece of document.pieces) {
    const end = at + piece.text.length;
    if (end <= head) before.push(piece);
    else if (at >= old.length - tail) after.push(piece);
    at = end;
  }
  const length = (pieces) => pieces.reduce((sum, piece) => sum + piece.text.length, 0);
  return [...before, { text: text.slice(length(before), text.length - length(after)) }, ...after];
}

const Chip = pure(({ look, open, words, fields }) => html`<span class=${look}><i>${open}</i>${words}<i>${fields}</i></span>`);

function mirror(text, document, problem) {
  if (problem && problem.text === text) {
    const { start, end } = problem;
    return [text.slice(0, start), html`<mark class="wrong">${text.slice(start, Math.max(end, start + 1)) || " "}</mark>`, text.slice(Math.max(end, start + 1))];
  }
  return stretches(text, document).map((piece) => {
    if (!piece.parts) return piece.text;
    const bar = document.bars[piece.bar];
    const off = bar && bar.weight[0] === 0 && bar.weight[1] === 0;
    const [open, words, fields] = piece.parts;
    return html`<${Chip} look=${`chip hue-${hue(bar?.words)} ${off ? "off" : ""}`} open=${open} words=${words} fields=${fields} />`;
  });
}

// Where the bracket lies that a selection touches, so that it is still selected after its weight changed.
function around(document, at) {
  let start = 0;
  for (const piece of document.pieces) {
    const end = start + piece.text.length;
    if (piece.parts && start <= at && at <= end) return [start + piece.parts[0].length, start + piece.parts[0].length + piece.parts[1].length];
    start = end;
  }
  return [at, at];
}

export class Editor extends Component {
  field = null;

  // One after the other, so that a key held down counts every time.
  shift(by) {
    this.turn = (this.turn || Promise.resolve()).then(async () => {
      const [start, end] = this.wanted || [this.field.selectionStart, this.field.selectionEnd];
      const document = await state.change({ do: "shift", start, end, by });
      if (document) this.wanted = around(document, start + 1);
    });
  }

  keys = (event) => {
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key === "Enter") state.drawAll();
    else if (command && (event.key === "ArrowUp" || event.key === "ArrowDown")) this.shift(event.key === "ArrowUp" ? 0.1 : -0.1);
    else if (command && event.key.toLowerCase() === "z") event.shiftKey ? state.redo() : state.undo();
    else if (command && event.key.toLowerCase() === "y") state.redo();
    else return;
    event.preventDefault();
  };

  componentDidUpdate() {
    const { text } = this.props;
    if (this.field && this.field.value !== text) {
      const { selectionStart, selectionEnd } = this.field;
      this.field.value = text;
      if (window.document.activeElement === this.field) this.field.setSelectionRange(...(this.wanted || [selectionStart, selectionEnd]));
      this.wanted = null;
    }
  }

  render({ text, document, problem, side, label, placeholder }) {
    return html`<div class="editor">
      <div class="page">
        <pre class="mirror" aria-hidden="true">${mirror(text, document, problem)}${"\n"}</pre>
        <textarea id=${`field-${side}`} ref=${(field) => (this.field = field)} value=${text} aria-label=${label}
          aria-invalid=${problem ? "true" : "false"} aria-describedby="problem" placeholder=${placeholder}
          spellcheck="false" autocapitalize="off" autocomplete="off" rows="1"
          onInput=${(event) => state.write(event.target.value)} onKeyDown=${this.keys} />
      </div>
      ${problem ? html`<${Problem} problem=${problem} />` : html`<p id="problem" class="notes">${(document?.notes || []).map((note) => html`<span>${note}</span>`)}</p>`}
    </div>`;
  }
}

function Problem({ problem }) {
  return html`<div id="problem" class="problem" role="alert">
    <p><strong>${problem.message}</strong><br />expected: ${problem.expected}</p>
    ${problem.fixes?.length > 0 && html`<p class="fixes">${problem.fixes.map((fix) => html`<button type="button" onClick=${() => state.write(fix.text, "fix")}>
      <code>${fix.put}</code>${fix.note && html`<small>${fix.note}</small>`}</button>`)}</p>`}
    ${problem.advice && html`<p>${problem.advice}</p>`}
  </div>`;
}

export const EditorBar = pure(({ canUndo, canRedo }) => {
  const button = (name, label, action, enabled = true) =>
    html`<button type="button" class="quiet" aria-label=${label} title=${label} disabled=${!enabled} onClick=${action}>${icon(name)}</button>`;
  return html`<div class="tools">
    ${button("undo", "Undo (Ctrl Z)", state.undo, canUndo)}
    ${button("redo", "Redo (Ctrl Shift Z)", state.redo, canRedo)}
  </div>`;
});
