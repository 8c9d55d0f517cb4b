// The studio: the page drawn again whenever what it knows has changed.

import { render } from "./vendor/preact.mjs";
import { effect } from "./vendor/signals-core.mjs";
import { Editor, EditorBar } from "./editor.js";
import { drop, Dropped, Export, Reference } from "./elsewhere.js";
import { History } from "./history.js";
import { Field, html, icon } from "./html.js";
import { Lexicon, Settings, Styles, Suggest, Tune } from "./panels.js";
import { Pictures } from "./pictures.js";
import * as state from "./state.js";
import { Timeline } from "./timeline.js";

const TOUR = [
  ["watercolor all the way", "a red house in the snow, [watercolor:full]", "The word acts at every step: it takes the house with it."],
  ["only late", "a red house in the snow, [watercolor:late]", "The house is there first; then the paint comes."],
  ["late and gently", "a red house in the snow, [watercolor:late:0.5]", "Half the weight: a hint of it."],
];

function Tour({ at }) {
  const walk = async (index) => {
    state.write(TOUR[index][1], "tour", "text");
    state.tour.value = index + 1;
    await state.draw({ kind: "tour", columns: TOUR.slice(0, index + 1).map(([label, text]) => ({ label, text })) });
  };
  return html`<section class="tour" aria-label="Tour"><p><b>Three clicks show the idea.</b> ${at > 0 ? TOUR[at - 1][2] : "One word, three ways, the same four seeds."}</p>
    <p>${TOUR.map(([label], index) => html`<button type="button" class=${index === at ? "next" : ""} disabled=${index > at} onClick=${() => walk(index)}>${index + 1}. ${label}</button>`)}
    <button type="button" class="plain" onClick=${() => { state.tour.value = 9; state.save(); }}>${at >= 3 ? "Done" : "Skip"}</button></p></section>`;
}

function Queue({ jobs }) {
  if (!jobs.length) return null;
  return html`<div class="queue" role="status" aria-label="Queue">${jobs.map((job) => html`<div class="job" key=${job.id}>
    <span class="what">${{ draw: "Drawing", load: "Loading", suggest: "Suggesting", tune: "Tuning" }[job.kind] || job.kind} <q>${job.title}</q></span>
    <progress max=${job.total || 1} value=${job.state === "waiting" ? 0 : job.total ? job.done : undefined} aria-label=${job.title} />
    ${job.kind !== "load" && html`<button type="button" class="quiet" aria-label=${`Cancel ${job.title}`} title="Cancel; what is drawn is kept" onClick=${() => state.cancel(job)}>${icon("close")}</button>`}
  </div>`)}</div>`;
}

function Locked() {
  return html`<main class="gate"><h1>dfprompt studio</h1><p>This address lacks the token of the studio that is running. Open the address that the terminal shows: it ends in <code>#token=...</code></p></main>`;
}

function App(now) {
  if (now.locked) return html`<${Locked} />`;
  const { server, side, texts, documents, problems, seeds, jobs, panel, drawings, current } = now;
  const drawing = drawings.get(current);
  const job = jobs.find((each) => each.kind === "draw");
  const toggle = (name) => (state.panel.value = panel === name ? null : name);
  const helper = (name, glyph, label, action) => html`<button type="button" aria-expanded=${String(panel === name)} aria-controls=${`panel-${name}`} onClick=${action || (() => toggle(name))}>${icon(glyph)} ${label}</button>`;
  const tab = (name, label) => html`<button type="button" role="tab" id=${`tab-${name}`} aria-selected=${String(side === name)} aria-controls="writing" tabindex=${side === name ? 0 : -1}
    onClick=${() => (state.side.value = name)} onKeyDown=${(event) => { if (/Arrow(Left|Right)/.test(event.key)) { state.side.value = name === "text" ? "negative" : "text"; event.currentTarget.parentElement.querySelector("[tabindex='-1']").focus(); } }}>${label}${name === "negative" && texts.negative ? html` <i class="dot" />` : ""}</button>`;
  return html`<div class=${`frame ${now.historyOpen ? "with-history" : ""}`}>
    <header class="top">
      <h1><img src="/static/icon.svg" alt="" width="22" height="22" /> dfprompt <span>studio</span></h1>
      <span class="model">${server.model || server.pipeline || ""}${server.ready ? "" : server.problem ? " \u2013 not loaded" : " \u2013 loading"}</span>
      ${!now.online && html`<span class="offline" role="alert">The server does not answer; trying again</span>`}
      <span class="grow" />
      <button type="button" class="quiet" aria-label="History" aria-expanded=${String(now.historyOpen)} title="History" onClick=${() => (state.historyOpen.value = !now.historyOpen)}>${icon("history")}</button>
    </header>
    <main>
      ${server.problem && html`<p class="problem" role="alert">${server.problem}</p>`}
      ${server.tour && now.tour < 9 && html`<${Tour} at=${now.tour} />`}
      <section class="card-of writing">
        <div class="head"><div role="tablist" aria-label="Which prompt">${tab("text", "Prompt")}${tab("negative", "Negative")}</div><${EditorBar} canUndo=${now.past.length > 0} canRedo=${now.future.length > 0} /></div>
        <div id="writing" role="tabpanel" aria-labelledby=${`tab-${side}`}>
          <${Editor} key=${side} side=${side} text=${texts[side]} document=${documents[side]} problem=${problems[side]} label=${side === "text" ? "Prompt" : "Negative prompt"}
            placeholder=${side === "text" ? "What the picture shows, then [words:when:how strongly]" : "What the picture should not show; ranges and weights work here too"} />
          <${Timeline} document=${documents[side]} drag=${now.drag} lifted=${now.lifted} locks=${now.locks} cursor=${now.cursor} stale=${Boolean(problems[side])} />
        </div>
      </section>
      <div class="bar-of-actions">
        <button type="button" class="go" disabled=${Boolean(problems.text || problems.negative)} onClick=${state.drawAll} title="Ctrl Enter">Draw <kbd>Ctrl \u21b5</kbd></button>
        <button type="button" class="quiet" aria-label="Copy the drawing as a command" title="Copy as command" onClick=${() => state.copyCommand("draw")}>${icon("copy")}</button>
        <span class="seeds-of"><label>Seeds <${Field} min="1" max="64" value=${seeds.length} commit=${(typed) => state.setSeeds(seeds[0], typed)} /></label>
        <label>from <${Field} min="0" value=${seeds[0]} commit=${(typed) => state.setSeeds(typed, seeds.length)} /></label>
        <button type="button" class="quiet" aria-label="Other seeds" title="Other seeds" onClick=${() => state.setSeeds(Math.floor(Math.random() * 1e6), seeds.length)}>${icon("shuffle")}</button></span>
        <span class="grow" />
        <span class="helpers">${helper("suggest", "spark", "Suggest", () => { if (panel !== "suggest") state.suggest(); toggle("suggest"); })}
        ${helper("lexicon", "plus", "Add words")}
        ${helper("styles", "styles", "Styles")}
        ${helper("tune", "tune", "Tune")}
        ${helper("export", "share", "Export")}
        ${helper("settings", "settings", "Settings")}</span>
      </div>
      ${panel === "suggest" && html`<${Suggest} suggestions=${now.suggestions} bans=${now.bans} text=${texts.text} busy=${now.suggesting} withRewrite=${now.withRewrite} />`}
      ${panel === "lexicon" && html`<${Lexicon} lexicon=${server.lexicon} text=${texts[side]} />`}
      ${panel === "styles" && html`<${Styles} text=${texts.text} />`}
      ${panel === "tune" && html`<${Tune} text=${texts.text} job=${jobs.find((each) => each.kind === "tune")} done=${now.tuned} />`}
      ${panel === "export" && html`<${Export} text=${texts.text} negative=${texts.negative} seeds=${seeds} settings=${now.settings} />`}
      ${panel === "settings" && html`<${Settings} settings=${now.settings} defaults=${server.defaults} />`}
      <${Queue} jobs=${jobs} />
      <${Pictures} drawing=${drawing} seed=${now.seed} view=${now.view} pair=${now.pair} standings=${now.standings} job=${job} strips=${now.strips} />
      ${now.reference && html`<${Reference} found=${now.reference} />`}
    </main>
    ${now.historyOpen && html`<${History} drawings=${drawings} current=${current} search=${now.search} total=${now.total} />`}
    ${now.dropped && html`<${Dropped} found=${now.dropped} texts=${texts} settings=${{ ...server.defaults, ...now.settings }} seeds=${seeds} />`}
    ${now.toast && html`<div class=${`toast ${now.toast.kind}`}>${now.toast.message}<button type="button" class="quiet" aria-label="Close the message" onClick=${() => (state.toast.value = null)}>${icon("close")}</button></div>`}
    <p class="unseen" role="status" aria-live="polite">${now.said}</p>
  </div>`;
}

const KNOWN = ["server", "online", "locked", "side", "texts", "documents", "problems", "drag", "lifted", "cursor", "settings", "seeds", "locks", "drawings", "total", "search",
  "current", "standings", "seed", "view", "pair", "suggestions", "bans", "withRewrite", "panel", "historyOpen", "toast", "said", "past", "future", "tour", "dropped", "reference", "strips"];

// Everything the page shows, read so that a change of any of it draws the page again.
function look() {
  const now = Object.fromEntries(KNOWN.map((name) => [name, state[name].value]));
  now.jobs = state.running.value;
  now.suggesting = now.jobs.some((job) => job.kind === "suggest");
  now.tuned = [...state.jobs.value.values()].findLast((job) => job.kind === "tune" && job.state === "done");
  return now;
}

let asked = false;
const root = document.getElementById("app");
root.textContent = "";
effect(() => {
  look();
  if (asked) return;
  asked = true;
  queueMicrotask(() => {
    asked = false;
    render(html`<${App} ...${look()} />`, root); // at once: waiting for the next frame here is a frame more
  });
});

addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  drop(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
  if (file) event.preventDefault();
  drop(file);
});
addEventListener("keydown", (event) => {
  const command = event.ctrlKey || event.metaKey;
  if (event.defaultPrevented || /TEXTAREA|INPUT|SELECT/.test(event.target.tagName)) return;
  if (command && event.key === "Enter") state.drawAll();
  else if (command && event.key.toLowerCase() === "z") event.shiftKey ? state.redo() : state.undo();
  else return;
  event.preventDefault();
});

state.begin();
