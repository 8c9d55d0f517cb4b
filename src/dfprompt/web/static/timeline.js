// One bar per bracket over the steps of this pipeline. A bar lies where its words act and is as high as
// their weight; whatever is dragged becomes a change of the text.

import { Component, Pure, html, hue, icon, number } from "./html.js";
import * as state from "./state.js";

const MOST = 2; // the weight that fills a row

const height = (level) => Math.max(8, Math.min(100, (Math.abs(level) / MOST) * 100));

// The outline of a bar whose weight changes, as percentages of its box.
function outline(levels, first, stop) {
  const width = stop - first;
  const top = levels.slice(first, stop).map((level) => 100 - height(level || 0));
  const points = top.flatMap((y, index) => [`${(index / width) * 100}% ${y}%`, `${((index + 1) / width) * 100}% ${y}%`]);
  return `polygon(${points.join(",")},100% 100%,0 100%)`;
}

const weightText = ([first, last]) => (first === last ? `\u00d7${number(first)}` : `\u00d7${number(first)}\u2192${number(last)}`);

class Row extends Pure {
  track = null;

  stepAt(event) {
    const box = this.track.getBoundingClientRect();
    return Math.max(0, Math.min(this.props.steps, ((event.clientX - box.left) / box.width) * this.props.steps));
  }

  start = (what) => (event) => {
    if (event.button || state.isLocked(this.props.bar) || this.props.bar.turns) return;
    event.preventDefault();
    event.stopPropagation();
    event.currentTarget.focus();
    const { bar, index, steps } = this.props;
    const grip = { what, x: event.clientX, y: event.clientY, step: this.stepAt(event), bar, index, from: null, axis: what === "bar" ? null : "x" };
    if (what === "ramp-first" || what === "ramp-last") grip.axis = "y";
    const target = event.currentTarget;
    target.setPointerCapture(event.pointerId);
    const move = (event) => this.move(grip, event, steps);
    const end = () => {
      target.removeEventListener("pointermove", move);
      target.removeEventListener("pointerup", end);
      target.removeEventListener("pointercancel", end);
      state.drag.value = null;
    };
    target.addEventListener("pointermove", move);
    target.addEventListener("pointerup", end);
    target.addEventListener("pointercancel", end);
  };

  move(grip, event, steps) {
    const { bar, index } = grip;
    const dx = event.clientX - grip.x;
    const dy = event.clientY - grip.y;
    if (!grip.axis) {
      if (Math.hypot(dx, dy) < 5) return;
      grip.axis = Math.abs(dx) >= Math.abs(dy) ? "x" : "y";
    }
    const change = grip.axis === "x" ? this.moved(grip, this.stepAt(event), steps) : this.weighed(grip, dy, event.shiftKey);
    const key = JSON.stringify(change);
    if (!change || key === grip.last) return;
    grip.last = key;
    grip.from ??= state.dragging("drag");
    state.drag.value = { index, ...(change.do === "range" ? { first: change.first, stop: change.stop } : { weight: change.weight }) };
    state.change(change, { from: grip.from, live: true });
  }

  moved({ what, step, bar, index }, now, steps) {
    let { first, stop } = bar;
    if (first == null) [first, stop] = [0, steps];
    const by = Math.round(now - step);
    if (what === "first") first = Math.max(0, Math.min(stop - 1, Math.round(now)));
    else if (what === "stop") stop = Math.min(steps, Math.max(first + 1, Math.round(now)));
    else {
      const kept = Math.max(-first, Math.min(steps - stop, by));
      [first, stop] = [first + kept, stop + kept];
    }
    return { do: "range", bar: index, first, stop };
  }

  weighed({ what, bar, index }, dy, fine) {
    const by = Math.round((-dy / (fine ? 200 : 60)) * 20) / 20;
    const [first, last] = bar.weight;
    const fit = (value) => Math.max(-10, Math.min(10, Number((value + by).toFixed(2))));
    const ends = [what === "ramp-last" ? first : fit(first), what === "ramp-first" ? last : fit(last)];
    return { do: "weight", bar: index, weight: ends[0] === ends[1] ? ends[0] : ends };
  }

  // The row taken by its grip: where it is let go is its place among the brackets.
  lift = (event) => {
    if (event.button) return;
    event.preventDefault();
    const { index } = this.props;
    const grip = event.currentTarget;
    const boxes = [...this.track.closest(".rows").querySelectorAll(".row:not(.plain)")].map((row) => row.getBoundingClientRect());
    const move = (event) => {
      const away = boxes.map((box) => Math.abs(event.clientY - box.top - box.height / 2));
      state.lifted.value = { index, to: away.indexOf(Math.min(...away)) };
    };
    const end = (event) => {
      for (const [type, on] of [["pointermove", move], ["pointerup", end], ["pointercancel", end]]) grip.removeEventListener(type, on);
      const { to } = state.lifted.value || { to: index };
      state.lifted.value = null;
      if (event.type === "pointerup" && to !== index) this.reorder(to, "grip");
    };
    grip.focus();
    grip.setPointerCapture(event.pointerId);
    for (const [type, on] of [["pointermove", move], ["pointerup", end], ["pointercancel", end]]) grip.addEventListener(type, on);
  };

  reorder(to, name) {
    const { index, count } = this.props;
    if (to < 0 || to >= count) return;
    state.change({ do: "move", bar: index, to }).then(() => document.getElementById(`${name}-${to}`)?.focus());
  }

  gripKeys = (event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    this.reorder(this.props.index + by, "grip");
  };

  keys = (what) => (event) => {
    const { bar, index, steps } = this.props;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const lift = { ArrowUp: 0.05, ArrowDown: -0.05 }[event.key];
    const fixed = state.isLocked(bar);
    const dragged = !bar.turns; // words by turns have neither a range nor a weight
    const key = event.key.toLowerCase();
    if (event.altKey && lift) this.reorder(index + (lift > 0 ? -1 : 1), "bar");
    else if (key === "l") state.toggleLock(bar);
    else if (fixed) return;
    else if (step && bar.first != null && dragged) {
      const change = this.moved({ what, step: 0, bar, index }, what === "bar" ? step : bar[what === "first" ? "first" : "stop"] + step, steps);
      state.change(change);
    } else if (lift && dragged) state.change(this.weighed({ what, bar, index }, -lift * 60));
    else if (key === "m" && dragged) state.toggleMute(index, bar);
    else if (key === "delete" || key === "backspace") state.change({ do: "remove", bar: index });
    else return;
    event.preventDefault();
  };

  edge(what, bar, steps) {
    const value = what === "first" ? bar.first + 1 : bar.stop;
    return html`<span class=${`edge ${what}`} role="slider" tabindex="0" aria-label=${`${bar.words}: ${what === "first" ? "first" : "last"} step`}
      aria-valuemin="1" aria-valuemax=${steps} aria-valuenow=${value} aria-valuetext=${`step ${value} of ${steps}`}
      onPointerDown=${this.start(what)} onKeyDown=${this.keys(what)} />`;
  }

  ramp(what, bar, level) {
    const value = bar.weight[what === "ramp-first" ? 0 : 1];
    return html`<span class=${`knob ${what}`} style=${{ bottom: `${height(level)}%` }} role="slider" tabindex="0"
      aria-label=${`${bar.words}: weight at its ${what === "ramp-first" ? "first" : "last"} step`} aria-valuemin="-10" aria-valuemax="10"
      aria-valuenow=${value} title="drag for a weight that changes" onPointerDown=${this.start(what)} onKeyDown=${this.keys(what)} />`;
  }

  render({ bar: real, index, steps, drag, locked, place }) {
    const bar = drag ? { ...real, ...drag } : real;
    const weight = Array.isArray(bar.weight) ? bar.weight : [bar.weight, bar.weight];
    const off = weight[0] === 0 && weight[1] === 0;
    const acts = bar.first != null;
    const ramp = weight[0] !== weight[1];
    const [first, stop] = acts ? [bar.first, bar.stop] : off ? rangeOf(real, steps) : [0, 0];
    const tall = ramp ? 100 : height(off ? 1 : weight[0]);
    const box = { left: `${(first / steps) * 100}%`, width: `${((stop - first) / steps) * 100}%` };
    const shape = { height: `${tall}%`, ...(ramp && acts && !drag ? { clipPath: outline(real.levels, first, stop) } : {}) };
    return html`<div class=${`row hue-${hue(real.words)} ${off ? "off" : ""} ${locked ? "locked" : ""} ${drag ? "dragged" : ""} ${place}`} role="group" aria-label=${real.words}>
      <div class="name">
        <button type="button" class="quiet grip" id=${`grip-${index}`} aria-label=${`Place of ${real.words}`} title="Drag, or \u2191 \u2193: its place in the text"
          onPointerDown=${this.lift} onKeyDown=${this.gripKeys}>${icon("grip")}</button>
        <button type="button" class="quiet" disabled=${real.turns} aria-label=${`${off ? "Unmute" : "Mute"} ${real.words}`} aria-pressed=${String(off)} title=${off ? "Unmute (M)" : "Mute (M)"}
          onClick=${() => state.toggleMute(index, real)}>${icon(off ? "hidden" : "eye")}</button>
        <span class="words" title=${`${real.words}\n${real.when}`}>${real.words}</span>
        <span class="weight">${real.turns ? "by turns" : weightText(weight)}</span>
        <span class="more">
          <button type="button" class="quiet" aria-label=${`${locked ? "Unlock" : "Lock"} ${real.words}`} aria-pressed=${String(locked)} title="Lock (L): nothing changes these words" onClick=${() => state.toggleLock(real)}>${icon(locked ? "lock" : "unlock")}</button>
          <button type="button" class="quiet" aria-label=${`Which difference does ${real.words} make?`} title="Draw without these words, same seeds" onClick=${() => state.attribute(index, real)}>${icon("question")}</button>
          <button type="button" class="quiet" aria-label=${`Delete ${real.words}`} title="Delete" disabled=${locked} onClick=${() => state.change({ do: "remove", bar: index })}>${icon("trash")}</button>
        </span>
      </div>
      <div class="track" ref=${(track) => (this.track = track)}>
        ${(acts || off) && html`<div class="bar" id=${`bar-${index}`} style=${box} role="slider" tabindex="0" aria-label=${`${real.words}, ${real.when}: weight`}
          aria-valuemin="-10" aria-valuemax="10" aria-valuenow=${weight[0]} aria-valuetext=${`weight ${weightText(weight)}`}
          title="Arrows move and weigh, Alt arrows reorder, M mutes, L locks, Delete removes"
          onPointerDown=${this.start("bar")} onKeyDown=${this.keys("bar")}>
          <span class=${`fill ${real.turns ? "turns" : ""}`} style=${real.turns ? { ...shape, "--turns": stop - first } : shape} />
          ${drag?.weight != null && html`<b class="tip">${weightText(weight)}</b>`}
          ${drag?.first != null && html`<b class="tip">${drag.first + 1}\u2013${drag.stop}</b>`}
        </div>
        ${acts && !real.turns && html`<div class="grips" style=${box}>${this.edge("first", bar, steps)}${this.edge("stop", bar, steps)}
          ${this.ramp("ramp-first", { ...bar, weight }, weight[0])}${this.ramp("ramp-last", { ...bar, weight }, weight[1])}</div>`}`}
        ${!acts && !off && html`<span class="silent">acts at no step</span>`}
      </div>
    </div>`;
  }
}

// A muted bar is drawn where it would act: the words say it, "steps 6-10 of 10" says none of it.
function rangeOf(bar, steps) {
  const found = { early: [1, 0.5], late: [0.5, 0], full: [1, 0] }[bar.range] || bar.range.split("->").map(Number);
  return [Math.round((1 - found[0]) * steps), Math.round((1 - found[1]) * steps)];
}

// How a row looks while one is carried: the one, and where it would go.
function placed(lifted, index) {
  if (!lifted) return "";
  if (index === lifted.index) return "lifted";
  return index !== lifted.to ? "" : lifted.to > lifted.index ? "drop below" : "drop above";
}

export class Timeline extends Component {
  hover = (event) => {
    const track = this.axis?.getBoundingClientRect();
    if (!track) return;
    const at = Math.floor(((event.clientX - track.left) / track.width) * this.props.document.steps);
    state.cursor.value = at >= 0 && at < this.props.document.steps ? at : null;
  };

  render({ document, drag, lifted, locks, cursor, stale }) {
    if (!document) return html`<div class="timeline empty"><p>Reading ...</p></div>`;
    const { steps, bars, plain } = document;
    const every = steps > 30 ? 10 : steps > 12 ? 5 : 1;
    return html`<section class=${`timeline ${stale ? "stale" : ""} ${bars.length > 14 ? "dense" : ""}`} aria-label="When the words act" onPointerMove=${this.hover} onPointerLeave=${() => (state.cursor.value = null)}>
      <div class="axis"><span class="name">noise <i /> picture</span><div class="ticks" ref=${(axis) => (this.axis = axis)}>
        ${Array.from({ length: steps }, (_, step) => html`<span class=${step === cursor ? "here" : ""}>${(step + 1) % every === 0 || step === 0 ? step + 1 : ""}</span>`)}
      </div></div>
      <div class="rows" style=${{ "--steps": steps }}>
        ${cursor != null && html`<i class="cursor" style=${{ "--cursor": cursor }} />`}
        ${plain && html`<div class="row plain"><div class="name"><span class="words" title=${plain}>${plain}</span><span class="weight">plain words</span></div>
          <div class="track"><div class="bar"><span class="fill" /></div></div></div>`}
        ${bars.map((bar, index) => html`<${Row} key=${index} bar=${bar} index=${index} steps=${steps} count=${bars.length}
          drag=${drag?.index === index ? drag : null} locked=${locks.includes(bar.words)} place=${placed(lifted, index)} />`)}
      </div>
      ${bars.length === 0 && plain && html`<p class="hint">Select words and press <kbd>Ctrl</kbd> <kbd>\u2191</kbd> for a weight, or write <code>[watercolor:late]</code>, and they get a bar here.</p>`}
      <${Readout} document=${document} cursor=${cursor} />
    </section>`;
  }
}

function Readout({ document, cursor }) {
  const { steps, first, texts, step_texts: at } = document;
  const step = cursor ?? Math.max(first, Math.min(steps - 1, Math.floor(steps / 2)));
  const text = at[step] == null ? "" : texts[at[step]];
  return html`<div class="readout">
    <label>Step <input type="range" aria-label="Step whose text is shown" min="1" max=${steps} value=${step + 1} aria-valuetext=${`step ${step + 1}: ${text || "no words"}`}
      onInput=${(event) => (state.cursor.value = Number(event.target.value) - 1)} /></label>
    <output><b>${step + 1}</b><span class="of"> of ${steps}</span> <q>${text || "no words"}</q></output>
  </div>`;
}
