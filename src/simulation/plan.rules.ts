import type { Dice } from "./machine/dice.js";

/** One thing that is done to the world: at which time, by or to which host, and of which kind. */
export interface PlannedStep<Kind> {
  readonly number: number;
  readonly atMs: number;
  readonly host: number;
  readonly kind: Kind;
}

/** Kinds with how often each is drawn beside the others. */
export type Weights<Kind extends string> = readonly (readonly [Kind, number])[];

const FIRST_MS = 500;
const LONGEST_GAP_IN_BURST_MS = 50;
const LONGEST_PAUSE_MS = 2_000;

/** Each world has some of the faults and some of the work, so that what hides in the noise of all of them is met, too. */
export function planOf<Fault extends string, Work extends string>(
  { steps, hosts, faults, work }: { steps: number; hosts: number; faults: Weights<Fault>; work: Weights<Work> },
  dice: Dice,
): PlannedStep<Fault | Work>[] {
  const strikes = drawnFrom(faults, 0.6, dice);
  const jobs = drawnFrom(work, 0.7, dice);
  if (strikes.length + jobs.length === 0) return [];
  const trouble = strikes.length === 0 ? 0 : dice.pick([0.1, 0.25, 0.5]);
  let atMs = FIRST_MS;
  return Array.from({ length: steps }, (_, at) => {
    atMs += dice.chance(0.5) ? dice.below(LONGEST_GAP_IN_BURST_MS) : dice.below(LONGEST_PAUSE_MS);
    const kind = dice.chance(trouble) || jobs.length === 0 ? dice.pick(strikes) : dice.pick(jobs);
    return { number: at + 1, atMs, host: dice.below(hosts), kind };
  });
}

/** Some of the kinds, or all where none is drawn; each as often as its weight says. */
function drawnFrom<Kind extends string>(kinds: Weights<Kind>, share: number, dice: Dice): Kind[] {
  const drawn = kinds.filter(() => dice.chance(share));
  return (drawn.length > 0 ? drawn : kinds).flatMap(([kind, weight]) => Array<Kind>(weight).fill(kind));
}
