// One pair: two pictures, two questions, and how long they were really looked at.

import { Component, html } from "../html.js";

const SIDES = [["left", "Left", "1"], ["neither", "No difference", "0"], ["right", "Right", "2"]];
const KEYS = { 1: "left", ArrowLeft: "left", 0: "neither", ArrowDown: "neither", 2: "right", ArrowRight: "right" };
export const QUESTIONS = ["shows", "prefer"];

// Few pixels are shown as they are.
const sharpen = ({ target }) => target.classList.toggle("tiny", target.naturalWidth <= 128);

// Seconds for which the page was in front.
class Watch {
  seconds = 0;
  since = null;
  turn = () => {
    if (this.since !== null) this.seconds += (performance.now() - this.since) / 1000;
    this.since = document.hidden ? null : performance.now();
  };
  start() {
    this.turn();
    document.addEventListener("visibilitychange", this.turn);
  }
  stop() {
    document.removeEventListener("visibilitychange", this.turn);
    this.turn();
    this.since = null;
    return this.seconds;
  }
}

class Large extends Component {
  componentDidMount() {
    this.dialog.showModal();
  }

  render({ pictures, side, onTurn, onClose }) {
    const other = side === "left" ? "right" : "left";
    const turn = (event) => {
      if (!/^(Arrow(Left|Right)|[12])$/.test(event.key)) return;
      event.preventDefault();
      onTurn(KEYS[event.key]);
    };
    return html`<dialog ref=${(dialog) => (this.dialog = dialog)} aria-label="Picture, large" onClose=${onClose} onKeyDown=${turn}>
      <img src=${pictures[side]} alt=${`The ${side} picture`} onLoad=${sharpen} />
      <p><b>${side === "left" ? "Left" : "Right"}</b> <span class="grow" />
        <button type="button" onClick=${() => onTurn(other)}>Show the ${other}</button>
        <button type="button" class="go" onClick=${() => this.dialog.close()}>Back</button></p>
    </dialog>`;
  }
}

function Question({ name, text, number, chosen, active, onChoose }) {
  return html`<div class=${`question ${active ? "active" : ""}`} role="group" aria-labelledby=${`ask-${name}`}>
    <h2 id=${`ask-${name}`}><span>${number}</span> ${text}</h2>
    <div class="choices">${SIDES.map(([side, label, key]) => html`<button type="button" aria-pressed=${String(chosen === side)} onClick=${() => onChoose(name, side)}>
      ${label} <kbd aria-hidden="true">${key}</kbd></button>`)}</div>
  </div>`;
}

export class Pair extends Component {
  state = { choices: {}, at: 0, large: null, loaded: 0 };
  watch = new Watch();

  componentDidMount() {
    document.addEventListener("keydown", this.press);
  }

  componentWillUnmount() {
    document.removeEventListener("keydown", this.press);
    this.watch.stop();
  }

  press = (event) => {
    if (this.state.large || event.ctrlKey || event.metaKey || event.altKey || this.props.busy) return;
    if (event.key in KEYS) {
      event.preventDefault();
      this.choose(QUESTIONS[this.state.at], KEYS[event.key]);
    } else if (event.key === "ArrowUp" || event.key === "Backspace") {
      event.preventDefault();
      this.setState({ at: 0 });
    } else if (event.key === "Enter" && !/^(BUTTON|A)$/.test(event.target.tagName)) this.next();
  };

  choose = (name, side) => {
    if (this.props.busy || this.state.loaded < 2) return;
    const choices = { ...this.state.choices, [name]: side };
    const open = QUESTIONS.findIndex((each) => !(each in choices));
    this.setState({ choices, at: open < 0 ? QUESTIONS.length - 1 : open }, () => open < 0 && this.go?.focus({ preventScroll: true }));
  };

  next = () => {
    if (!this.props.busy && QUESTIONS.every((name) => name in this.state.choices)) this.props.onAnswer(this.state.choices, this.watch.stop());
  };

  seen = () => {
    if (this.state.loaded === 1) this.watch.start();
    this.setState(({ loaded }) => ({ loaded: loaded + 1 }));
  };

  render({ trial, questions, pictures, busy }, { choices, at, large, loaded }) {
    const ready = QUESTIONS.every((name) => name in choices);
    const picture = (side) => html`<figure><button type="button" class="picture" aria-label=${`Show the ${side} picture large`} onClick=${() => this.setState({ large: side })}>
        ${pictures && html`<img src=${pictures[side]} alt=${`The ${side} picture`} draggable="false" onLoad=${(event) => (sharpen(event), this.seen())} />`}</button>
      <figcaption>${side === "left" ? "Left" : "Right"}</figcaption></figure>`;
    return html`<section class="pair" aria-busy=${String(busy || loaded < 2)}>
      <p class="asked">Asked for: <q>${trial.prompt}</q></p>
      <div class="pictures">${picture("left")}${picture("right")}</div>
      <div class="questions">${QUESTIONS.map((name, index) => html`<${Question} name=${name} text=${questions[name]} number=${index + 1} chosen=${choices[name]} active=${at === index} onChoose=${this.choose} />`)}</div>
      <div class="onward"><p class="keys">Keys: <kbd>1</kbd> left <kbd>2</kbd> right <kbd>0</kbd> no difference <kbd>↑</kbd> first question again <kbd>Enter</kbd> next</p>
        <button type="button" class="go" disabled=${!ready || busy} ref=${(button) => (this.go = button)} onClick=${this.next}>${busy ? "Saving ..." : "Next"}</button></div>
      ${large && html`<${Large} pictures=${pictures} side=${large} onTurn=${(side) => this.setState({ large: side })} onClose=${() => this.setState({ large: null })} />`}
    </section>`;
  }
}
