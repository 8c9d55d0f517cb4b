// The pages of a study, one after the other: consent, about you, practice, pairs, the end.

import { render } from "../vendor/preact.mjs";
import { Component, html } from "../html.js";
import { Pair } from "./pair.js";
import { Text } from "./text.js";
import { arrival, call, dropOthers, picturesOf, remember, remembered } from "./wire.js";

const NO_LINK = "This page needs the link of your invitation. Please open that link again, as it was sent to you.";
const PAUSES = [1, 2, 4, 8];
const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

// A heading that screen readers read first when a page has changed.
const Head = ({ children }) => html`<h1 tabindex="-1" ref=${(head) => head && !head.dataset.seen && ((head.dataset.seen = 1), head.focus())}>${children}</h1>`;

function Consent({ study, onAgree, onDecline }) {
  return html`<main class="text"><${Head}>${study.title}<//><${Text} text=${study.consent} />
    <p class="acts"><button type="button" class="go" onClick=${onAgree}>I agree and take part</button>
    <button type="button" onClick=${onDecline}>I do not take part</button></p></main>`;
}

function Declined({ onBack }) {
  return html`<main class="text"><${Head}>You do not take part<//><p>Nothing was stored. You can close this page; if a platform sent you, please return your place there.</p>
    <p class="acts"><button type="button" class="plain" onClick=${onBack}>Back to the text</button></p></main>`;
}

function countries() {
  const names = new Intl.DisplayNames(["en"], { type: "region", fallback: "none" });
  const letters = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"];
  const codes = letters.flatMap((one) => letters.map((two) => one + two)).filter((code) => !/^(E[UZ]|UN|Q[M-Z]|X[A-JL-Z]|ZZ|A[C]|CP|DG|EA|IC|TA|CQ)$/.test(code));
  const known = codes.map((code) => [code, names.of(code)]).filter(([, name]) => name);
  const seen = new Map(known.map(([code, name]) => [name, code])); // withdrawn codes bear the names of their successors
  return [...seen].map(([name, code]) => [code, name]).sort((one, two) => one[1].localeCompare(two[1]));
}

class About extends Component {
  state = { about: {} };

  render({ study, busy, problem, onSend }, { about }) {
    const field = ({ name, label, choices }) => html`<label>${label}<select onChange=${(event) => this.setState({ about: { ...about, [name]: event.target.value || null } })}>
      <option value="">I would rather not say</option>
      ${(choices || countries()).map((choice) => (typeof choice === "string" ? [choice, choice] : choice)).map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select></label>`;
    return html`<main class="text"><${Head}>About you<//><p>You may leave any of these out.</p>
      <div class="about">${study.about.map(field)}</div>
      <${Problem} problem=${problem} />
      <p class="acts"><button type="button" class="go" disabled=${busy} onClick=${() => onSend(about)}>${problem ? "Try again" : "Continue"}</button></p></main>`;
  }
}

function Guide({ study, standing, onBegin }) {
  return html`<main class="text"><${Head}>How it works<//>
    <p>You see two pictures that were made for the same words, and answer two questions about them:</p>
    <ol><li>${study.questions.shows}</li><li>${study.questions.prefer}</li></ol>
    <p>There is no right answer: say what you see. <b>No difference</b> is an answer too. Touch a picture to see it large.</p>
    <p class="keyboard">With a keyboard: <kbd>1</kbd> or <kbd>←</kbd> left, <kbd>2</kbd> or <kbd>→</kbd> right, <kbd>0</kbd> or <kbd>↓</kbd> no difference, <kbd>Enter</kbd> next.</p>
    <p>There are ${standing.total} pairs${standing.practice ? html`; the first ${standing.practice} are for practice and do not count` : ""}. You can stop at any time, and go on later on this device.</p>
    <p class="acts"><button type="button" class="go" onClick=${onBegin}>${standing.practice ? "Practise" : "Begin"}</button></p></main>`;
}

function Done({ completion, id }) {
  return html`<main class="text"><${Head}>Thank you<//><p>All your answers are saved.</p>
    ${completion.code && html`<p>Your completion code: <code>${completion.code}</code></p>`}
    ${completion.url ? html`<p>One step is left: go back to where you came from, so that your part is counted.</p><p class="acts"><a class="go" href=${completion.url} rel="noreferrer">Complete</a></p>` : html`<p>You can close this page.</p>`}
    <p class="hint">Should your answers be deleted one day? Then write this number down, and quote it to whoever invited you: <code>${id}</code></p></main>`;
}

const Problem = ({ problem }) => problem && html`<p class="problem" role="alert">${problem.message}</p>`;

function Stopped({ message, onAgain }) {
  return html`<main class="text"><${Head}>The study cannot be shown<//><p role="alert">${message}</p>
    ${onAgain && html`<p class="acts"><button type="button" class="go" onClick=${onAgain}>Try again</button></p>`}</main>`;
}

class App extends Component {
  state = { screen: "opening", busy: false, problem: null };

  componentDidMount() {
    this.way = arrival() || remembered().way || null;
    this.begin();
    addEventListener("hashchange", () => location.hash && location.reload());
  }

  begin = async () => {
    const { token, way } = remembered();
    if (!this.way && !token) return this.setState({ screen: "stopped", message: NO_LINK });
    try {
      const same = token && (!this.way || JSON.stringify(this.way) === JSON.stringify(way));
      const answer = same ? await call("/api/standing") : await call("/api/enter", this.way);
      if (!same) remember({ token: answer.token, way: this.way, unsent: null });
      this.setState({ study: answer.study });
      if (!answer.standing) return this.setState({ screen: "consent" });
      this.show((await this.resend()) || answer.standing);
    } catch (error) {
      const stranger = error.status === 403;
      if (stranger && remembered().token) {
        remember({ token: null, unsent: null });
        return this.begin();
      }
      this.setState({ screen: "stopped", message: stranger ? NO_LINK : error.message, onAgain: error.status && error.status < 500 ? null : this.begin });
    }
  };

  // An answer that this device kept because the server could not be reached.
  resend = async () => {
    const { unsent } = remembered();
    if (!unsent) return null;
    const answer = await call("/api/answer", unsent).catch((error) => {
      if (error.status !== 409) throw error;
    });
    remember({ unsent: null });
    return answer?.standing;
  };

  show = async (standing, screen) => {
    if (!standing.trial) return this.setState({ screen: "done", standing, busy: false });
    const first = standing.done === 0 && !screen;
    this.setState({ screen: first ? "guide" : "pair", standing, pictures: null, busy: false, problem: null });
    await this.load(standing);
  };

  load = async (standing) => {
    dropOthers([standing.trial.id, standing.next]);
    try {
      const pictures = await picturesOf(standing.trial.id);
      if (this.state.standing === standing) this.setState({ pictures, problem: null });
      if (standing.next) picturesOf(standing.next).catch(() => {});
    } catch (error) {
      this.setState({ problem: { message: error.message, again: () => this.load(standing) } });
    }
  };

  agree = () => (this.state.study.about.length ? this.setState({ screen: "about", problem: null }) : this.enrol({}));

  enrol = async (about) => {
    this.setState({ busy: true });
    try {
      const answer = await call("/api/consent", { ...this.way, about });
      remember({ token: answer.token, way: this.way });
      this.show(answer.standing);
    } catch (error) {
      this.setState({ screen: "about", busy: false, problem: { message: error.message } });
    }
  };

  answer = async (choices, seconds) => {
    const unsent = { trial: this.state.standing.trial.id, choices, seconds };
    remember({ unsent });
    await this.send(unsent, 0);
  };

  send = async (unsent, tried) => {
    this.setState({ busy: true });
    try {
      const { standing } = await call("/api/answer", unsent);
      remember({ unsent: null });
      this.show(standing, "pair");
    } catch (error) {
      const away = error.status === 0 || error.status === 502;
      if (error.status < 500 && !away) {
        remember({ unsent: null });
        return this.setState({ problem: { message: error.message, label: "Go on", again: this.begin } });
      }
      this.setState({ problem: { message: error.message, again: () => this.send(unsent, 0) } });
      if (away && tried < PAUSES.length) {
        await pause(PAUSES[tried]);
        if (this.state.busy && remembered().unsent) await this.send(unsent, tried + 1);
      }
    }
  };

  render(_, { screen, study, standing, pictures, busy, problem, message, onAgain }) {
    if (screen === "opening") return html`<p class="wait">Opening ...</p>`;
    if (screen === "stopped") return html`<${Stopped} message=${message} onAgain=${onAgain} />`;
    if (screen === "consent") return html`<${Consent} study=${study} onAgree=${this.agree} onDecline=${() => this.setState({ screen: "declined" })} />`;
    if (screen === "declined") return html`<${Declined} onBack=${() => this.setState({ screen: "consent" })} />`;
    if (screen === "about") return html`<${About} study=${study} busy=${busy} problem=${problem} onSend=${this.enrol} />`;
    if (screen === "guide") return html`<${Guide} study=${study} standing=${standing} onBegin=${() => this.setState({ screen: "pair" })} />`;
    if (screen === "done") return html`<${Done} completion=${standing.completion} id=${remembered().token} />`;
    const { trial, done, total } = standing;
    const where = trial.practice ? `Practice ${done + 1} of ${standing.practice}` : `${done + 1 - standing.practice} of ${total - standing.practice}`;
    return html`<header class="top"><progress max=${total} value=${done} aria-label="How far you are" /><p>${where}</p></header>
      <main class="work"><${Head} key=${trial.id}><span class="unseen">${`${where}. Asked for: ${trial.prompt}`}</span><//>
      ${trial.practice && html`<p class="practice">For practice; this answer does not count.</p>`}
      <${Pair} key=${`pair-${trial.id}`} trial=${trial} questions=${study.questions} pictures=${pictures} busy=${busy} onAnswer=${this.answer} />
      ${problem && html`<div class="problem" role="alert"><p>${problem.message}</p><button type="button" onClick=${problem.again}>${problem.label || "Try again"}</button></div>`}</main>`;
  }
}

const root = document.getElementById("app");
root.textContent = "";
render(html`<${App} />`, root);
