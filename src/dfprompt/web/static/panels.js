// What helps in place: words to take or leave, the lexicon, how it is drawn.

import { Component, Field, html, hue, icon } from "./html.js";
import * as state from "./state.js";
import { call } from "./wire.js";

export function Panel({ name, title, children }) {
  return html`<section class="panel" aria-label=${title} id=${`panel-${name}`}>
    <header><h2>${title}</h2><button type="button" class="quiet" aria-label=${`Close ${title}`} onClick=${() => (state.panel.value = null)}>${icon("close")}</button></header>
    ${children}
  </section>`;
}

// The same by the command line.
const Command = ({ of }) => html`<button type="button" class="plain" onClick=${() => state.copyCommand(of)}>${icon("copy")} Copy as command</button>`;

const chip = (each, taken) => html`<span class=${`offer hue-${hue(each.words)}`}>
  <button type="button" aria-pressed=${String(taken)} disabled=${taken} title=${each.span} onClick=${() => state.change({ do: "append", span: each.span })}>${icon("plus")} ${each.words}</button>
  <button type="button" class="quiet" aria-label=${`Never suggest ${each.words}`} title="Never suggest this" onClick=${() => state.ban(each.words)}>${icon("close")}</button>
</span>`;

export function Suggest({ suggestions, bans, text, busy }) {
  const fresh = suggestions && suggestions.candidates;
  return html`<${Panel} name="suggest" title="Suggestions">
    ${busy && html`<p class="hint">Asking the policy ...</p>`}
    ${fresh && fresh.every((each) => !each.modifiers.length) && html`<p class="hint">The policy would leave this prompt alone.</p>`}
    ${fresh && html`<ul class="offers">${fresh.filter((each) => each.modifiers.length).map((each) => html`<li>
      ${each.modifiers.map((modifier) => chip(modifier, text.includes(modifier.span)))}
      <button type="button" class="plain" onClick=${() => state.write(each.text, "suggest", "text")}>Take all</button></li>`)}</ul>`}
    <p class="row-of">
      <button type="button" disabled=${busy} onClick=${() => state.suggest({ seed: Math.floor(Math.random() * 1e6) })}>${icon("shuffle")} Others</button>
      <${Command} of="suggest" />
      <label><input type="checkbox" checked=${state.withRewrite.value} onChange=${(event) => { state.withRewrite.value = event.target.checked; state.save(); }} /> draw the first as a column, “rewrite”</label>
    </p>
    ${bans.length > 0 && html`<p class="hint">Never: ${bans.map((words) => html`<button type="button" class="plain" title="Allow again" onClick=${() => state.ban(words, false)}>${words} \u00d7</button> `)}</p>`}
    <p class="hint">Your own words stay as they are. A word is added behind them with the range and weight it has here.</p>
  <//>`;
}

export class Lexicon extends Component {
  render({ lexicon, text }, { words = "" }) {
    const fits = (entry) => entry.words.toLowerCase().includes(words.toLowerCase());
    return html`<${Panel} name="lexicon" title="Add words">
      <input type="search" placeholder="Find a modifier" aria-label="Find a modifier" value=${words} onInput=${(event) => this.setState({ words: event.target.value })} />
      <div class="categories">${Object.entries(lexicon).map(([category, entries]) => {
        const found = entries.filter(fits);
        return found.length > 0 && html`<div><h3>${category}</h3><p>${found.map((entry) => html`<button type="button" class=${`offer hue-${hue(entry.words)}`} disabled=${text.includes(entry.words)} title=${entry.span}
          onClick=${() => state.change({ do: "append", span: entry.span })}>${entry.words}</button>`)}</p></div>`;
      })}</div>
    <//>`;
  }
}

export function Settings({ settings, defaults, seeds }) {
  const field = (name, label, attributes = {}) => html`<label>${label}<${Field} value=${settings[name] ?? ""} placeholder=${defaults[name] ?? ""} ...${attributes}
    commit=${(typed) => state.setSettings({ [name]: typed === "" ? null : attributes.type === "text" ? typed : Number(typed) })} /></label>`;
  return html`<${Panel} name="settings" title="How it is drawn">
    <div class="fields">
      ${field("num_inference_steps", "Steps", { min: 1, max: 1000 })}
      ${field("guidance_scale", "Guidance", { min: 0, step: 0.5 })}
      ${field("width", "Width", { min: 8, step: 8 })}
      ${field("height", "Height", { min: 8, step: 8 })}
      ${field("scheduler", "Scheduler", { type: "text" })}
      <label>Ranges count<select value=${settings.clock ?? "steps"} onChange=${(event) => state.setSettings({ clock: event.target.value })}><option value="steps">steps</option><option value="timestep">noise left (timestep)</option></select></label>
      <label>Weights by<select value=${settings.weighting ?? ""} onChange=${(event) => state.setSettings({ weighting: event.target.value || null })}>
        <option value="">${defaults.weighting ? `the model's own (${defaults.weighting})` : "the model's own"}</option>${["mean", "scale", "comfy", "compel", "attention"].map((rule) => html`<option value=${rule}>${rule}</option>`)}</select></label>
    </div>
    <p class="hint">Empty fields take the model's own value.</p>
  <//>`;
}

export class Styles extends Component {
  async load(body) {
    try {
      const { presets } = await call("/api/presets", body);
      this.setState({ presets });
    } catch (error) {
      state.complain(error);
    }
  }

  componentDidMount() {
    this.load();
  }

  async take(preset) {
    for (const span of preset.text.match(/\[[^\]]*\]/g) || []) if (!state.texts.value.text.includes(span)) await state.change({ do: "append", span }, { which: "text" });
  }

  render({ text }, { presets = [], name = "" }) {
    return html`<${Panel} name="styles" title="Styles">
      <ul class="styles">${presets.map((preset) => html`<li key=${preset.name}><button type="button" title=${preset.text} onClick=${() => this.take(preset)}><b>${preset.name}</b><span>${preset.text}</span></button>
        ${preset.own && html`<button type="button" class="quiet" aria-label=${`Forget ${preset.name}`} onClick=${() => this.load({ name: preset.name, text: null })}>${icon("trash")}</button>`}</li>`)}</ul>
      <form class="row-of" onSubmit=${(event) => { event.preventDefault(); this.load({ name, text }).then(() => this.setState({ name: "" })); }}>
        <input type="text" placeholder="Name" aria-label="Name of the style" value=${name} onInput=${(event) => this.setState({ name: event.target.value })} />
        <button type="submit" disabled=${!name.trim()}>Keep the brackets of this prompt as a style</button></form>
    <//>`;
  }
}

export class Tune extends Component {
  render({ job, done, text }, { images = 48, keep = "" }) {
    const told = job?.result || done?.result;
    const most = Math.max(...(told?.best || []).map((each) => Math.abs(each.mean)), 0.001);
    return html`<${Panel} name="tune" title="Tune">
      <p class="hint">Draws candidates, keeps what scores better on the same seeds, and makes sure on fresh ones. Your own words stay.</p>
      <p class="row-of"><label>Pictures <${Field} min="16" max="2000" step="8" value=${images} commit=${(typed) => this.setState({ images: Number(typed) })} /></label>
        <label>Keep <input type="text" placeholder="words, words" title="Words of the prompt that nothing tried may move or weigh" value=${keep} onInput=${(event) => this.setState({ keep: event.target.value })} /></label>
        ${job ? html`<button type="button" onClick=${() => state.cancel(job)}>Stop</button>` : html`<button type="button" class="go" onClick=${() => state.tune(images, keep.split(",").map((words) => words.trim()).filter(Boolean))}>Search</button>`}
        <${Command} of="tune" />
        ${job && html`<span class="hint">${told?.stage || "waiting"} \u00b7 ${job.done} of ${job.total}</span>`}</p>
      ${done?.result?.sentence && !job && html`<p>${done.result.sentence}</p>`}
      ${told?.best?.length > 0 && html`<ol class="best">${told.best.map((each) => html`<li key=${each.text} class=${each.text === "plain" ? "of-plain" : ""}>
        <i style=${{ width: `${(Math.abs(each.mean) / most) * 100}%` }} /><span>${each.text}</span><small>${each.mean.toFixed(3)} over ${each.pictures}</small>
        ${each.text !== "plain" && html`<button type="button" class="plain" disabled=${each.text === text} onClick=${() => state.write(each.text, "tune", "text")}>Take</button>`}</li>`)}</ol>`}
    <//>`;
  }
}
