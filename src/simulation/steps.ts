import type { Chronicle } from "./chronicle.js";
import type { FaultKind } from "./fault-kinds.js";
import { type PlannedFault, STRIKES, type Victims } from "./faults/faults.js";
import type { Dice } from "./machine/dice.js";
import type { PlannedStep } from "./plan.rules.js";
import type { Guest } from "./tab/guest.js";
import type { Tab } from "./tab/tab.js";
import type { Commons } from "./works/work.js";
import { WORK, type WorkKind } from "./works/workload.js";

/** Performs the planned steps. */
export interface Steps {
  perform(step: PlannedStep<FaultKind | WorkKind>): void;
  /** Work whose callers still wait for it, in kernels that are still open. */
  readonly waiting: string[];
}

interface StepsParts {
  readonly dice: Dice;
  readonly tabs: readonly Tab[];
  readonly victims: Victims;
  readonly commons: Commons;
  readonly chronicle: Chronicle;
}

const FAULT_OF: Readonly<Partial<Record<string, PlannedFault>>> = STRIKES;
/** Faults that strike with their step; the others strike later, and count when they do. */
const AT_ONCE: ReadonlySet<string> = new Set<FaultKind>(["clockForward", "clockBack", "slow"]);

export function createSteps({ dice, tabs, victims, commons, chronicle }: StepsParts): Steps {
  const waiting = new Set<{ readonly told: string; readonly guest: Guest }>();

  function strike(fault: PlannedFault, kind: FaultKind, number: number, drawn: Tab): void {
    const tab = fault.victim?.(victims, drawn) ?? drawn;
    const name = tab.life?.name ?? tab.name;
    if (AT_ONCE.has(kind)) chronicle.happened(kind);
    chronicle.step(number, name, fault.strike(victims, tab, dice.fork(`step ${number}`)));
  }

  function work(kind: WorkKind, number: number, drawn: Tab): void {
    // If that host is not there, the next one does it.
    const there = tabs.flatMap(({ guest }) => (guest?.life.state === "up" && !guest.life.isLeaving ? [guest] : []));
    const guest = there.find(({ life }) => life.host >= drawn.name) ?? there[0];
    if (!guest) return chronicle.step(number, drawn.life?.name ?? drawn.name, `would do "${kind}", and nobody is there`);
    const { told, done } = WORK[kind].work(guest, commons, dice.fork(`step ${number}`), number);
    chronicle.step(number, guest.life.name, told);
    const ticket = { told, guest };
    waiting.add(ticket);
    void done.then(() => waiting.delete(ticket));
  }

  return {
    perform({ number, host, kind }) {
      const drawn = tabs[host] as Tab;
      const fault = FAULT_OF[kind];
      if (fault) strike(fault, kind as FaultKind, number, drawn);
      else work(kind as WorkKind, number, drawn);
    },
    get waiting() {
      const open = new Set(tabs.map(({ guest }) => guest));
      return [...waiting].flatMap(({ told, guest }) => (open.has(guest) ? [`${guest.life.name} ${told}, and still waits`] : []));
    },
  };
}
