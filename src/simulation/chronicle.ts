import { FAULTS, type FaultKind } from "./fault-kinds.js";
import type { Life } from "./machine/machine.js";
import type { Timeline } from "./machine/timeline.js";

/** What happened in a simulated world. */
export interface SimulationReport {
  readonly seed: number;
  /** Everything that happened, a line each. */
  readonly history: readonly string[];
  /** The planned steps that were run, with their numbers and what each did. */
  readonly steps: readonly { readonly number: number; readonly told: string }[];
  /** How often each fault struck. */
  readonly faults: Readonly<Record<FaultKind, number>>;
  /** Transactions that stored something. */
  readonly commits: number;
  /** What ended the run: the first rule that was broken. */
  readonly failure?: { readonly rule: string; readonly what: string };
}

/** Records a run while it goes on, and makes its report in the end. */
export interface Chronicle {
  /** A rule is broken: the run is over. */
  readonly isOver: boolean;
  log(who: string, what: string): void;
  /** A planned step was run. */
  step(number: number, who: string, what: string): void;
  /** A fault struck one life, or all. */
  happened(kind: FaultKind, life?: Life): void;
  committed(): void;
  complain(rule: string, what: string): void;
  report(seed: number): SimulationReport;
}

export function createChronicle(timeline: Timeline): Chronicle {
  const history: string[] = [];
  const steps: { number: number; told: string }[] = [];
  const faults = Object.fromEntries(FAULTS.map((kind) => [kind, 0])) as Record<FaultKind, number>;
  let commits = 0;
  let failure: SimulationReport["failure"];

  const line = (who: string, what: string) => `${(timeline.nowMs / 1_000).toFixed(3)} ${who} ${what}`;
  const log = (who: string, what: string) => void history.push(line(who, what));
  return {
    get isOver() {
      return failure !== undefined;
    },
    log,
    step(number, who, what) {
      log(who, what);
      steps.push({ number, told: line(who, what) });
    },
    happened(kind, life) {
      faults[kind]++;
      if (life) life.wellSinceMs = Math.max(life.wellSinceMs, timeline.nowMs);
    },
    committed: () => void commits++,
    complain(rule, what) {
      log("RULE", `${rule}: ${what}`);
      failure ??= { rule, what };
    },
    report: (seed) => ({ seed, history, steps, faults, commits, ...(failure && { failure }) }),
  };
}
