// One template tag for all parts, and a component that renders again only when its properties change.

import { Component, h } from "./vendor/preact.mjs";
import htm from "./vendor/htm.mjs";

export { Component };
export const html = htm.bind(h);

export class Pure extends Component {
  shouldComponentUpdate(next) {
    const keys = new Set([...Object.keys(next), ...Object.keys(this.props)]);
    return [...keys].some((key) => key !== "children" && next[key] !== this.props[key]);
  }
}

// A component of what a function shows, which is asked again only when its properties change.
export const pure = (show) =>
  class extends Pure {
    render(props) {
      return show(props);
    }
  };

// A field whose typed text stays until it is done, whatever is drawn again meanwhile.
export class Field extends Component {
  render({ value, commit, type = "number", ...rest }, { typed = null }) {
    return html`<input type=${type} ...${rest} value=${typed ?? value} onInput=${(event) => this.setState({ typed: event.target.value })}
      onChange=${(event) => { commit(event.target.value); this.setState({ typed: null }); }} onBlur=${() => this.setState({ typed: null })} />`;
  }
}

// A colour per words, the same wherever they stand.
const hues = new Map();
export function hue(words) {
  if (!hues.has(words)) hues.set(words, hues.size % 8);
  return hues.get(words);
}

const PATHS = {
  eye: "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
  hidden: "M2 2l12 12M6.2 4A7 7 0 0 1 8 3.5C12 3.5 14.5 8 14.5 8a12 12 0 0 1-2 2.6M4 5.2A12 12 0 0 0 1.5 8S4 12.5 8 12.5a6.6 6.6 0 0 0 2.6-.6",
  lock: "M4 7.5h8v6H4zM5.5 7.5V5a2.5 2.5 0 0 1 5 0v2.5",
  unlock: "M4 7.5h8v6H4zM5.5 7.5V5a2.5 2.5 0 0 1 4.8-1",
  trash: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 9h5.8l.6-9",
  grip: "M6 4h.1M6 8h.1M6 12h.1M10 4h.1M10 8h.1M10 12h.1",
  plus: "M8 3v10M3 8h10",
  undo: "M6 4L3 7l3 3M3 7h6a3.5 3.5 0 0 1 0 7H7",
  redo: "M10 4l3 3-3 3M13 7H7a3.5 3.5 0 0 0 0 7h2",
  history: "M2.5 8a5.5 5.5 0 1 0 1.7-4M2.5 2.5v3h3M8 5v3.5l2.2 1.3",
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  settings: "M2 5h7M12 5h2M2 11h2M7 11h7M10.5 6.5a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3zM5.5 12.5a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3z",
  shuffle: "M2 4.5h2.5l6 7H14M2 11.5h2.5l1.6-1.9M9 6.2l1.5-1.7H14M12.2 2.7L14 4.5l-1.8 1.8M12.2 9.7l1.8 1.8-1.8 1.8",
  spark: "M8 2l1.5 4.5L14 8l-4.5 1.5L8 14 6.5 9.5 2 8l4.5-1.5z",
  share: "M8 10V2.5M5 5.5l3-3 3 3M3 9v4.5h10V9",
  compare: "M8 2v12M2.5 4h3.5v8H2.5zM10 4h3.5v8H10",
  styles: "M8 2.5a5.5 5.5 0 1 0 0 11c1.2 0 1.2-.9 .8-1.6-.5-.9 0-1.9 1.2-1.9h1.5a2 2 0 0 0 2-2A5.5 5.5 0 0 0 8 2.5zM5 8h.1M7 5.5h.1M10.5 6h.1",
  question: "M5.8 6a2.2 2.2 0 1 1 3.3 1.9c-.8.5-1.1.9-1.1 1.8M8 12v.3",
  strip: "M2 4.5h12v7H2zM6 4.5v7M10 4.5v7",
  tune: "M3 13V8M3 5V3M8 13v-2M8 8V3M13 13V9M13 6V3M1.5 8h3M6.5 11h3M11.5 9h3",
};

export const icon = (name) =>
  html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;

export const number = (value, digits = 2) => Number(value.toFixed(digits)).toString();
export const signed = (value, digits = 2) => (value > 0 ? "+" : value < 0 ? "\u2212" : "") + number(Math.abs(value), digits);
