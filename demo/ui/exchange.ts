// One question with its answer: its progress, the writer of each part, and the sources.
import { builtIn, type Exchange, isOver, sourcesOf, stretchesOf } from "../conversation.js";
import { hueOf } from "../identity.js";
import { plural } from "../words.js";
import { h, say, set } from "./dom.js";
import { tabName } from "./tab-name.js";

export interface ExchangeView {
  readonly element: HTMLElement;
  update(exchange: Exchange, runner: string | undefined, isWaiting: boolean): void;
  /** Shows the time until the next attempt by this tab's clock; called a few times a second. */
  tick(now: number): void;
}

export interface ExchangeActions {
  stop(exchange: Exchange): void;
  tryAgain(exchange: Exchange): void;
}

export function exchangeView(actions: ExchangeActions): ExchangeView {
  const question = h("p", { class: "question" });
  const told = h("span");
  // A timer's text is not announced at each change.
  const left = h("span", { role: "timer" });
  const stop = h("button", { type: "button", class: "plain stop", hidden: true }, "Stop");
  const again = h("button", { type: "button", class: "again", hidden: true }, "Try again");
  const status = h("p", { class: "status quiet numbers" }, h("span", {}, told, left), stop, again);
  const said = h("p", { class: "said" });
  const failure = h("p", { class: "failure" });
  const sources = h("ol", { class: "sources quiet" });
  const by = h("ol", { class: "stretches", "aria-label": "Who wrote what, in order" });
  const reply = h("div", { class: "reply", hidden: true }, said, failure, sources, by);
  const element = h("li", { class: "exchange" }, question, status, reply);
  const filling = [
    // Elements are only added, so that a screen reader reads only the new ones.
    adding(
      said,
      ({ parts }) => parts,
      ({ text, tab }) => h("span", { "data-hue": hueOf(tab) }, text),
    ),
    replacing(
      sources,
      ({ parts }) => sourcesOf(parts),
      ({ n, fileName, lines, title }) =>
        h(
          "li",
          {},
          h("span", { class: "numbers" }, `[${n}]`),
          " ",
          h("cite", {}, fileName),
          `, ${lines}`,
          title ? `, ${title}` : "",
        ),
    ),
    replacing(
      by,
      ({ parts }) => stretchesOf(parts),
      ({ tab, attempt, agent, count }) => {
        const model = agent === builtIn || agent === "" ? "" : `, ${agent}`;
        const what = `${plural(count, "part")}, attempt ${attempt}${model}`;
        return h("li", {}, tab ? tabName(tab) : "", h("span", { class: "numbers quiet" }, what));
      },
    ),
  ];
  let shown = "";
  let latest: Exchange | undefined;
  stop.addEventListener("click", () => latest && actions.stop(latest));
  again.addEventListener("click", () => latest && actions.tryAgain(latest));

  const tick = (now: number) => {
    const { phase, retryAtMs = now } = latest ?? {};
    const seconds = Math.max(0, Math.ceil((retryAtMs - now) / 1_000));
    say(left, phase !== "paused" ? "" : seconds > 0 ? `next try in ${seconds} s` : "next try soon");
  };

  return {
    element,
    tick,
    update(exchange, runner, isWaiting) {
      if (question.textContent !== exchange.question) question.textContent = exchange.question;
      set(element, "data-phase", exchange.phase);
      latest = exchange;
      const text = statusOf(exchange, runner, isWaiting);
      const key = JSON.stringify([text, runner]);
      if (key !== shown) {
        const isNamed = exchange.phase === "running" && runner !== undefined;
        told.replaceChildren(...(isNamed ? ["running in ", tabName(runner), text] : [text]));
      }
      shown = key;
      set(stop, "hidden", isOver(exchange));
      set(again, "hidden", exchange.retryKey === undefined);
      for (const fill of filling) fill(exchange);
      const problem = failureOf(exchange);
      say(failure, problem);
      set(failure, "hidden", problem === "");
      set(reply, "hidden", exchange.parts.length === 0 && problem === "");
      tick(Date.now());
      const last = exchange.parts.at(-1)?.tab;
      set(reply, "data-hue", last ? hueOf(last) : undefined);
    },
  };
}

/** The text after "running in <tab>" for a running exchange, else the whole status. */
function statusOf({ phase, attempt, parts, error }: Exchange, runner: string | undefined, isWaiting: boolean): string {
  const before = parts.filter((part) => part.attempt < attempt).length;
  const kept = attempt > 1 ? `, ${before === 0 ? "nothing" : plural(before, "part")} kept` : "";
  switch (phase) {
    case "stored":
      return isWaiting ? "stored, waits for the answer before it" : "stored";
    case "running":
      return runner === undefined
        ? `between tabs, ${plural(parts.length, "part")} kept`
        : `, attempt ${attempt}${attempt > 1 ? kept : ""}`;
    case "between":
      return `attempt ${attempt} ended, ${plural(parts.length, "part")} kept`;
    case "paused":
      return `attempt ${attempt} failed; waits, `;
    case "answered":
      return attempt > 1 ? `answered at attempt ${attempt}` : "answered";
    case "stopped":
      return parts.length > 0 ? `stopped, ${plural(parts.length, "part")} kept` : "stopped";
    case "given-up":
      return error === undefined ? "not answered" : `given up after ${plural(attempt, "attempt")}`;
  }
}

/** The error of the last attempt that failed, until the question is answered or taken back. */
function failureOf({ phase, attempt, error }: Exchange): string {
  if (error === undefined || phase === "answered" || phase === "stopped") return "";
  return `Attempt ${phase === "running" ? attempt - 1 : attempt} failed. ${error}`;
}

type Fill = (exchange: Exchange) => void;

function adding<T>(place: HTMLElement, list: (exchange: Exchange) => readonly T[], draw: (one: T) => HTMLElement): Fill {
  return (exchange) => {
    const items = list(exchange);
    if (items.length < place.children.length) place.replaceChildren();
    place.append(...items.slice(place.children.length).map(draw));
  };
}

function replacing<T>(place: HTMLElement, list: (exchange: Exchange) => readonly T[], draw: (one: T) => HTMLElement): Fill {
  let shown = "[]";
  return (exchange) => {
    const items = list(exchange);
    const key = JSON.stringify(items);
    if (key !== shown) place.replaceChildren(...items.map(draw));
    shown = key;
  };
}
