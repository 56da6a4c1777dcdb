// One question with its answer: its progress, the writer of each part, and the sources.
import { builtIn, type Exchange, sourcesOf, stretchesOf } from "../conversation.js";
import { hueOf } from "../identity.js";
import { plural } from "../words.js";
import { h, set } from "./dom.js";
import { tabName } from "./tab-name.js";

export interface ExchangeView {
  readonly element: HTMLElement;
  update(exchange: Exchange, runner: string | undefined, isWaiting: boolean): void;
}

export function exchangeView(onStop: (id: string) => void): ExchangeView {
  const question = h("p", { class: "question" });
  const told = h("span");
  const stop = h("button", { type: "button", class: "plain stop", hidden: true }, "Stop");
  const status = h("p", { class: "status quiet numbers" }, told, stop);
  const said = h("p", { class: "said" });
  const failures = h("ol", { class: "failures" });
  const sources = h("ol", { class: "sources quiet" });
  const by = h("ol", { class: "stretches", "aria-label": "Who wrote what, in order" });
  const reply = h("div", { class: "reply", hidden: true }, said, failures, sources, by);
  const element = h("li", { class: "exchange" }, question, status, reply);
  const filling = [
    // Elements are only added, so that a screen reader reads only the new ones.
    adding(
      said,
      ({ parts }) => parts,
      ({ text, tab }) => h("span", { "data-hue": hueOf(tab) }, text),
    ),
    adding(
      failures,
      (one) => one.failures,
      ({ reason, attempt }) => h("li", {}, `Attempt ${attempt} failed. ${reason}`),
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
  let id = "";
  stop.addEventListener("click", () => onStop(id));

  return {
    element,
    update(exchange, runner, isWaiting) {
      if (question.textContent !== exchange.question) question.textContent = exchange.question;
      set(element, "data-phase", exchange.phase);
      id = exchange.id;
      const text = statusOf(exchange, runner, isWaiting);
      const key = JSON.stringify([text, runner]);
      if (key !== shown) {
        const isNamed = exchange.phase === "running" && runner !== undefined;
        told.replaceChildren(...(isNamed ? ["running in ", tabName(runner), text] : [text]));
      }
      shown = key;
      set(stop, "hidden", !["stored", "running", "between"].includes(exchange.phase));
      for (const fill of filling) fill(exchange);
      set(reply, "hidden", exchange.parts.length === 0 && exchange.failures.length === 0);
      const last = exchange.parts.at(-1)?.tab;
      set(reply, "data-hue", last ? hueOf(last) : undefined);
    },
  };
}

/** The text after "running in <tab>" for a running exchange, else the whole status. */
function statusOf({ phase, attempt, parts, failures }: Exchange, runner: string | undefined, isWaiting: boolean): string {
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
    case "answered":
      return attempt > 1 ? `answered at attempt ${attempt}` : "answered";
    case "stopped":
      return parts.length > 0 ? `stopped, ${plural(parts.length, "part")} kept` : "stopped";
    case "given-up":
      return failures.length > 0 ? `given up after ${plural(failures.length, "failed attempt")}` : "not answered";
  }
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
