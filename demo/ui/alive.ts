// The list of the living: a row for every host, a cell for every agent. Only changed rows and cells are updated.
import type { AgentRecord, HostRecord } from "holdfast";
import type { Alive } from "../alive.js";
import { hueOf, tabOf } from "../identity.js";
import { retention, timings } from "../kernel.js";
import { plural } from "../words.js";
import { h, part, say, set } from "./dom.js";
import { messageOf } from "./explain.js";
import { cell, grid } from "./grid.js";
import { tabName } from "./tab-name.js";

export interface AlivePanel {
  draw(): void;
  /** Shows the times by this tab's clock; called a few times a second. */
  tick(now: number): void;
  /** The kernel is closed: no more news of hosts and agents will come. */
  close(): void;
}

/** Maximum of drawn cells. Further agents are only counted. */
const mostCells = 3_000;

const stateNames = { registered: "online", deregistered: "deregistered", expired: "expired" };

const age = (ms: number, now: number): string => (now - ms < 1_000 ? "just now" : `${Math.floor((now - ms) / 1_000)} s ago`);

const nameOfTab = (hostId: string): string => tabOf(hostId)?.name ?? hostId;

export function alivePanel(alive: Alive, closeKernel: () => Promise<void>): AlivePanel {
  const actions = part("alive-actions");
  const hosts = hostTable();
  const agents = agentGrid();
  let busy = false;
  let closed = false;

  const buttons = new Map<HTMLButtonElement, () => boolean>();
  const enable = () => {
    for (const [element, usable] of buttons) element.disabled = closed || busy || !usable();
  };
  const attempt = async (what: string, run: () => Promise<void>) => {
    busy = true;
    enable();
    say(part("alive-note"), "");
    await run().catch((error: unknown) => {
      if (!closed) say(part("alive-note"), `${what}: ${messageOf(error)}`);
    });
    busy = false;
    enable();
  };
  const button = (label: string, title: string, usable: () => boolean, run: () => void) => {
    const element = h("button", { type: "button", title }, label);
    element.addEventListener("click", run);
    buttons.set(element, usable);
    actions.append(element);
  };
  const always = () => true;
  const add = (count: number) => () => void attempt("Not all could be registered", () => alive.add(count));
  button("Add an agent", "Registers an agent that this tab beats for", always, add(1));
  button("Add a thousand agents", "Registers a thousand; this tab still beats with one row for all of them", always, add(1_000));
  button(
    "Let them go",
    "Deregisters all agents of this tab",
    () => alive.own > 0,
    () => void attempt("Not all could be let go", alive.letGo),
  );
  button("Close this tab's kernel", "Ends it in order: the page stays, everything that its kernel did stops", always, () => {
    void attempt("It could not be closed", closeKernel);
  });
  say(
    part("alive-hint"),
    `The other ways to go are at the top. A tab that closes or crashes is found gone at once, and its agents with it. One that hangs only goes silent: after ${timings.staleAfterMs / 1_000} s it is given up, until it beats again. Offline agents are forgotten after ${retention.offlineAgentsMs / 60_000} minutes.`,
  );
  enable();
  void attempt("Not all could be registered again", alive.restore);

  return {
    draw() {
      if (closed) return;
      hosts.draw(alive.hosts);
      agents.draw(alive.agents);
      enable();
    },
    tick(now) {
      if (!closed) hosts.tick(now);
    },
    close() {
      closed = true;
      part("alive-hosts").hidden = true;
      part("agents").replaceChildren(h("p", { class: "quiet" }, "This tab hears nothing of the others any more."));
      enable();
    },
  };
}

interface HostLine {
  readonly element: HTMLElement;
  host: HostRecord;
  update(host: HostRecord): void;
  tick(now: number): void;
}

function hostTable() {
  const body = part("hosts");
  const lines = new Map<string, HostLine>();
  return {
    draw(hosts: readonly HostRecord[]) {
      const here = new Set(hosts.map(({ bootId }) => bootId));
      for (const [bootId, { element }] of lines) {
        if (here.has(bootId)) continue;
        element.remove();
        lines.delete(bootId);
      }
      for (const host of hosts) {
        const line = lines.get(host.bootId) ?? hostLine(host);
        if (!lines.has(host.bootId)) body.append(line.element);
        lines.set(host.bootId, line);
        line.update(host);
      }
    },
    tick(now: number) {
      for (const line of lines.values()) line.tick(now);
    },
  };
}

function hostLine(first: HostRecord): HostLine {
  const seen = h("td", { class: "seen numbers" });
  const lock = h("td", { title: "Its Web Lock: when it is free, its tab is gone" });
  const agents = h("td", { class: "count numbers" });
  const leases = h("td", { class: "count numbers" });
  const name = h("th", { scope: "row" }, tabName(nameOfTab(first.hostId)), first.self ? " (this tab)" : undefined);
  const line: HostLine = {
    element: h("tr", {}, name, seen, lock, agents, leases),
    host: first,
    update(host) {
      line.host = host;
      set(line.element, "data-silent", !host.alive);
      say(lock, host.locked ? "held" : "none");
      say(agents, host.agents.toLocaleString("en"));
      say(leases, host.leases.toLocaleString("en"));
      line.tick(Date.now());
    },
    tick(now) {
      const { alive, lastSeenAtMs } = line.host;
      say(seen, `${alive ? "alive" : "silent"}, ${age(lastSeenAtMs, now)}`);
    },
  };
  return line;
}

interface AgentCell {
  readonly element: HTMLElement;
  record: AgentRecord;
}

function agentGrid() {
  const drawn = new Map<string, AgentCell>();
  const ofCell = new WeakMap<Element, AgentCell>();
  const view = grid("Agents, by the tab that beats for them", (element) => {
    const record = ofCell.get(element)?.record;
    if (!record) return "";
    const { agentId, registration, incarnation, lastSeenAtMs } = record;
    return `${agentId}: ${stateNames[registration]}, incarnation ${incarnation}, seen ${age(lastSeenAtMs, Date.now())}`;
  });
  part("agents").append(view.element);

  return {
    draw(agents: readonly AgentRecord[]) {
      const here = new Set(agents.map(({ agentId }) => agentId));
      for (const [agentId, { element }] of drawn) {
        if (here.has(agentId)) continue;
        element.remove();
        drawn.delete(agentId);
      }
      const fresh: HTMLElement[] = [];
      const counts = { registered: 0, deregistered: 0, expired: 0 };
      for (const record of agents) {
        counts[record.registration]++;
        let place = drawn.get(record.agentId);
        if (!place) {
          if (drawn.size >= mostCells) continue;
          place = { element: cell(), record };
          drawn.set(record.agentId, place);
          ofCell.set(place.element, place);
          fresh.push(place.element);
        }
        place.record = record;
        const isOnline = record.registration === "registered";
        set(place.element, "data-state", stateNames[record.registration]);
        set(place.element, "data-hue", isOnline && record.hostId ? hueOf(nameOfTab(record.hostId)) : undefined);
      }
      view.cells.append(...fresh);
      set(view.cells, "data-many", agents.length > 300);
      set(view.cells, "hidden", agents.length === 0);
      view.summarise(summary(counts, agents.length - drawn.size));
      view.changed();
    },
  };
}

function summary(counts: { registered: number; deregistered: number; expired: number }, left: number): string {
  const { registered, deregistered, expired } = counts;
  const count = (n: number) => n.toLocaleString("en");
  if (registered + deregistered + expired === 0) return "No agents yet. A tab beats for all of its own with one row.";
  return [
    `${plural(registered, "agent")} online`,
    ...(deregistered > 0 ? [`${count(deregistered)} deregistered`] : []),
    ...(expired > 0 ? [`${count(expired)} expired`] : []),
    ...(left > 0 ? [`${count(left)} not drawn`] : []),
  ].join(", ");
}
