// What comes in from a dropped picture, and what goes out to other tools.

import { Component, html, icon } from "./html.js";
import { Panel } from "./panels.js";
import * as state from "./state.js";
import { call } from "./wire.js";

export class Export extends Component {
  async load() {
    const { text, negative, seeds, settings } = this.props;
    const key = JSON.stringify([text, negative, seeds, settings]);
    if (this.key === key) return;
    this.key = key;
    try {
      this.setState({ forms: (await call("/api/export", { text, negative, seeds, settings: state.wanted() })).forms, problem: null });
    } catch (error) {
      this.setState({ problem: error.message });
    }
  }

  componentDidMount() {
    this.load();
  }

  componentDidUpdate() {
    this.load();
  }

  render(_, { forms = [], problem }) {
    return html`<${Panel} name="export" title="Take it elsewhere">
      ${problem && html`<p class="problem">${problem}</p>`}
      <div class="forms">${forms.map((form) => html`<section aria-label=${form.name}><h3>${form.name} ${!form.error && html`<button type="button" class="plain" onClick=${() => state.copy(form.negative ? `${form.text}\nNegative prompt: ${form.negative}` : form.text)}>${icon("copy")} Copy<span class="unseen"> for ${form.name}</span></button>`}</h3>
        ${form.error ? html`<p class="lost">${form.error}</p>` : html`<pre tabindex="0">${form.text}${form.negative ? html`\n<b>Negative:</b> ${form.negative}` : ""}</pre>`}
        ${form.lost.length > 0 && html`<ul class="lost">${form.lost.map((each) => html`<li>lost: ${each}</li>`)}</ul>`}
        ${form.assumed.length > 0 && html`<ul class="hint">${form.assumed.map((each) => html`<li>assumed: ${each}</li>`)}</ul>`}
      </section>`)}</div>
    <//>`;
  }
}

// A picture dropped anywhere: read by the server, nothing changes until it is said.
export async function drop(file) {
  if (!file) return;
  try {
    const { found } = await call("/api/inspect", file);
    state.dropped.value = { ...found, name: file.name, address: URL.createObjectURL(file) };
  } catch (error) {
    state.complain(error);
  }
}

export class Dropped extends Component {
  componentDidMount() {
    this.dialog.showModal();
  }

  close(keep) {
    const { found } = this.props;
    if (keep) state.reference.value = found;
    else URL.revokeObjectURL(found.address);
    state.dropped.value = null;
  }

  render({ found, texts, settings, seeds }) {
    const current = { prompt: texts.text, "negative prompt": texts.negative, seed: seeds[0], ...settings };
    const offered = { prompt: found.text, "negative prompt": found.negative, ...(found.seed == null ? {} : { seed: found.seed }), ...found.settings };
    const changed = Object.entries(offered).filter(([name, value]) => String(value ?? "") !== String(current[name] ?? ""));
    return html`<dialog ref=${(dialog) => (this.dialog = dialog)} aria-labelledby="dropped-title" onCancel=${() => this.close(false)}>
      <h2 id="dropped-title">${found.name}</h2>
      <div class="dropped"><img src=${found.address} alt="The picture that was dropped" />
        <div><p class="hint">Drawn by ${found.source}${found.model ? ` with ${found.model}` : ""}. This would change:</p>
        ${changed.length ? html`<table><thead><tr><th scope="col">what</th><th scope="col">now</th><th scope="col">then</th></tr></thead><tbody>${changed.map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${String(current[name] ?? "\u2013")}</td><td>${String(value || "\u2013")}</td></tr>`)}</tbody></table>` : html`<p>Nothing: it is what stands here.</p>`}
        ${found.remarks.map((remark) => html`<p class="hint">${remark}</p>`)}</div></div>
      <p class="row-of"><button type="button" class="go" onClick=${() => { state.apply(found); this.close(false); }}>Apply</button>
        <button type="button" onClick=${() => this.close(true)}>For reference</button>
        <button type="button" onClick=${() => this.close(false)}>Cancel</button></p>
    </dialog>`;
  }
}

export const Reference = ({ found }) => html`<aside class="reference" aria-label="Reference"><img src=${found.address} alt=${`Reference: ${found.text}`} />
  <p><b>For reference</b><br />${found.text}</p>
  <span><button type="button" onClick=${() => state.apply(found)}>Apply</button><button type="button" class="quiet" aria-label="Put the reference away" onClick=${() => (state.reference.value = null)}>${icon("close")}</button></span></aside>`;
