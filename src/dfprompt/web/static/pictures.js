// What was drawn: every way to say it side by side from the same seed, or one over the other.

import { Component, html, icon, number, pure, signed } from "./html.js";
import * as state from "./state.js";
import { picture, stripOf } from "./wire.js";

export class Picture extends Component {
  load(id) {
    if (!id) return this.setState({ address: null, id });
    picture(id).then(
      (address) => this.props.id === id && this.setState({ address, id }),
      () => this.props.id === id && this.setState({ address: null, id, gone: true }),
    );
  }

  componentDidMount() {
    this.load(this.props.id);
  }

  componentDidUpdate(before) {
    if (before.id !== this.props.id) this.load(this.props.id);
  }

  render({ alt, style }, { address, gone }) {
    if (!address) return html`<span class=${`blank ${gone ? "gone" : ""}`} style=${style}>${gone ? "the file is gone" : ""}</span>`;
    return html`<img src=${address} alt=${alt} style=${style} draggable="false" />`;
  }
}

const find = (drawing, label, seed) => drawing.pictures.find((each) => each.label === label && each.seed === seed);

function Scores({ shown, plain, standings, label }) {
  if (!shown) return null;
  const failed = Object.entries(shown.failed);
  const names = [...new Set(standings.map((line) => line.score))];
  const seen = (names.length ? names : Object.keys(shown.scores).slice(0, 2)).filter((name) => name in shown.scores).slice(0, 5);
  return html`<dl class="scores">
    ${seen.map((name) => html`<div><dt>${name}</dt><dd>${number(shown.scores[name])}${plain && plain !== shown && name in plain.scores && shown.scores[name] !== plain.scores[name] && html` <small class=${shown.scores[name] >= plain.scores[name] ? "up" : "down"}>${signed(shown.scores[name] - plain.scores[name])}</small>`}</dd></div>`)}
    ${failed.map(([name, reason]) => html`<div class="failed"><dt>${name}</dt><dd>${reason}</dd></div>`)}
  </dl>`;
}

// The picture after each step, and the words that acted there.
class Steps extends Component {
  componentDidMount() {
    stripOf(this.props.strip).then((address) => this.setState({ address }), state.complain);
  }

  render({ strip }, { address }) {
    const { texts, label, seed } = strip;
    const said = (step) => (step === 0 || texts[step] !== texts[step - 1] ? texts[step] : "");
    return html`<section class="steps" aria-label=${`Steps of ${label}, seed ${seed}`}><header><h3>${label}, seed ${seed}: after each step</h3>
      <button type="button" class="quiet" aria-label="Close the steps" onClick=${() => state.hideStrip(strip)}>${icon("close")}</button></header>
      <ol tabindex="0" role="group" aria-label="Steps">${texts.map((text, step) => html`<li><span class="frame-of" role="img" aria-label=${`after step ${step + 1}: ${text}`}
        style=${address ? { backgroundImage: `url(${address})`, backgroundSize: `${texts.length * 100}% 100%`, backgroundPosition: `${texts.length > 1 ? (step / (texts.length - 1)) * 100 : 0}% 0` } : {}} />
        <b>${step + 1}</b> <small title=${text}>${said(step)}</small></li>`)}</ol></section>`;
  }
}

function Side({ drawing, seed, standings }) {
  const plain = find(drawing, "plain", seed);
  return html`<div class="side" style=${{ "--columns": state.labels(drawing).length }}>
    ${state.labels(drawing).map((label) => {
      const shown = find(drawing, label, seed);
      const text = label === "plain" ? drawing.plain : drawing.columns.find(([name]) => name === label)[1];
      return html`<figure key=${label}>
        <${Picture} id=${shown?.id} alt=${`${label}, seed ${seed}: ${text}`} />
        <figcaption><b>${label}</b><span title=${text}>${text}</span>${shown?.id && html`<button type="button" class="quiet" aria-label=${`Steps of ${label}`} title="What it looked like after each step" onClick=${() => state.strip(drawing.id, label, seed)}>${icon("strip")}</button>`}</figcaption>
        <${Scores} shown=${shown} plain=${plain} standings=${standings} label=${label} />
      </figure>`;
    })}
  </div>`;
}

class Slider extends Component {
  constructor() {
    super();
    this.state = { at: 50, held: false };
  }

  hold = (held) => () => this.setState({ held });

  componentDidMount() {
    this.key = (event) => {
      if (event.key.toLowerCase() !== "x" || event.repeat || /TEXTAREA|INPUT|SELECT/.test(event.target.tagName)) return;
      this.setState({ held: event.type === "keydown" });
    };
    addEventListener("keydown", this.key);
    addEventListener("keyup", this.key);
  }

  componentWillUnmount() {
    removeEventListener("keydown", this.key);
    removeEventListener("keyup", this.key);
  }

  render({ drawing, seed, pair }, { at, held }) {
    const [left, right] = held ? [pair[1], pair[0]] : pair;
    const choose = (place) => html`<select aria-label=${place ? "Right picture" : "Left picture"} value=${pair[place]} onChange=${(event) => (state.pair.value = place ? [pair[0], event.target.value] : [event.target.value, pair[1]])}>
      ${state.labels(drawing).map((label) => html`<option value=${label}>${label}</option>`)}</select>`;
    return html`<div class="slider">
      <div class="stage" onPointerDown=${(event) => event.target.tagName !== "INPUT" && this.hold(true)()} onPointerUp=${this.hold(false)} onPointerLeave=${this.hold(false)}>
        <${Picture} id=${find(drawing, right, seed)?.id} alt=${`${right}, seed ${seed}`} />
        <div class="over" style=${{ clipPath: `inset(0 ${100 - at}% 0 0)` }}><${Picture} id=${find(drawing, left, seed)?.id} alt=${`${left}, seed ${seed}`} /></div>
        <i class="split" style=${{ left: `${at}%` }} />
        <input type="range" min="0" max="100" value=${at} aria-label=${`How much of ${left} is shown beside ${right}`} onInput=${(event) => this.setState({ at: Number(event.target.value) })} />
      </div>
      <p class="pair">${choose(0)}<button type="button" onPointerDown=${this.hold(true)} onPointerUp=${this.hold(false)} onPointerLeave=${this.hold(false)}>Hold to swap <kbd>X</kbd></button>${choose(1)}</p>
    </div>`;
  }
}

function Strip({ drawing, seed }) {
  const shown = state.labels(drawing);
  return html`<div class="seeds" role="tablist" aria-label="Seeds drawn">
    ${drawing.seeds.map((each) => html`<button type="button" role="tab" key=${each} aria-selected=${String(each === seed)} aria-label=${`Seed ${each}`} tabindex=${each === seed ? 0 : -1}
      onClick=${() => (state.seed.value = each)}
      onKeyDown=${(event) => {
        const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (!by) return;
        event.preventDefault();
        const next = drawing.seeds[(drawing.seeds.indexOf(each) + by + drawing.seeds.length) % drawing.seeds.length];
        state.seed.value = next;
        event.currentTarget.parentElement.children[drawing.seeds.indexOf(next)].focus();
      }}>
      ${shown.map((label) => html`<${Picture} key=${label} id=${find(drawing, label, each)?.id} alt="" />`)}<small>${each}</small></button>`)}
  </div>`;
}

function Standings({ standings, drawing }) {
  const scores = [...new Set(standings.map((line) => line.score))];
  if (!scores.length) return null;
  const others = state.labels(drawing).slice(1);
  const of = (label, score) => standings.find((line) => line.label === label && line.score === score);
  return html`<details class="standings"><summary>Scores over ${drawing.seeds.length} ${drawing.seeds.length === 1 ? "seed" : "seeds"}</summary>
    <div class="scroll" tabindex="0" role="region" aria-label="Scores"><table><thead><tr><th scope="col">score</th><th scope="col">plain</th>${others.map((label) => html`<th scope="col">${label}</th><th scope="col">difference</th>`)}</tr></thead>
    <tbody>${scores.map((score) => html`<tr><th scope="row">${score}</th><td>${mean(of("plain", score))}</td>${others.map((label) => {
      const line = of(label, score);
      const found = line?.to_plain;
      return html`<td>${mean(line)}</td><td>${found ? html`${signed(found.difference)} ${found.interval ? html`<small>${signed(found.interval[0])} to ${signed(found.interval[1])}</small>` : html`<small>too few seeds for an interval</small>`}` : "\u2013"}</td>`;
    })}</tr>`)}</tbody></table></div></details>`;
}

const mean = (line) => (line?.mean == null ? "\u2013" : number(line.mean));

export const Pictures = pure(({ drawing, seed, view, pair, standings, job, strips }) => {
  if (!drawing) {
    return html`<section class="pictures none" aria-label="Pictures"><p>${job ? "The first picture is on its way." : "Nothing is drawn yet. Write what the picture shows, then press Draw."}</p></section>`;
  }
  const several = drawing.columns.length > 0;
  const mode = several ? view : "side";
  return html`<section class="pictures" aria-label="Pictures">
    <header>
      <h2>Drawing ${drawing.id}</h2>
      ${drawing.missing > 0 && !job && html`<span class="state">${drawing.missing} not drawn <button type="button" onClick=${() => state.resume(drawing.id)}>Go on</button></span>`}
      ${drawing.problem && html`<span class="state wrong">${drawing.problem}</span>`}
      ${several && html`<div class="choice" role="group" aria-label="How pictures are compared">
        <button type="button" aria-pressed=${String(mode === "side")} onClick=${() => (state.view.value = "side")}>${icon("strip")} Side by side</button>
        <button type="button" aria-pressed=${String(mode === "slider")} onClick=${() => (state.view.value = "slider")}>${icon("compare")} Slider</button>
      </div>`}
    </header>
    ${mode === "slider" ? html`<${Slider} drawing=${drawing} seed=${seed} pair=${pair} />` : html`<${Side} drawing=${drawing} seed=${seed} standings=${standings} />`}
    ${[...strips.values()].filter((strip) => strip.drawing === drawing.id).map((strip) => html`<${Steps} key=${`${strip.drawing}/${strip.label}/${strip.seed}`} strip=${strip} />`)}
    ${drawing.seeds.length > 1 && html`<${Strip} drawing=${drawing} seed=${seed} />`}
    <${Standings} standings=${standings} drawing=${drawing} />
  </section>`;
});
