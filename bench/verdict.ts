// Compares a goal with the figures: the ratio of each round, and their median.
import { quantile } from "./measure.js";
import type { Goal, Measured } from "./work.js";

export interface Verdict {
  readonly what: string;
  /** The ratios of the rounds, or the one value of a fact. */
  readonly values: readonly number[];
  readonly unit: string;
  readonly goal: string;
  /** Absent where the goal has no bound. */
  readonly reached?: boolean;
}

/** `undefined` where one of the two variants was not measured. */
export function verdict(goal: Goal, { rows, facts }: Measured): Verdict | undefined {
  if ("fact" in goal) {
    const fact = facts.find(({ name }) => name === goal.fact);
    if (!fact) return undefined;
    return {
      what: goal.fact,
      values: [fact.value],
      unit: fact.unit,
      goal: `at most ${goal.atMost}${fact.unit && ` ${fact.unit}`}`,
      reached: fact.value <= goal.atMost,
    };
  }
  const size = "at" in goal ? goal.at : undefined;
  const rowOf = (wanted: string) => rows.find(({ name, at }) => name === wanted && (size === undefined || at === size));
  const [of, over] = [rowOf(goal.of), rowOf(goal.over)];
  if (!of || !over) return undefined;
  const perRound = (compare: (of: number, over: number) => number) =>
    of.rounds.map((figure, round) => compare(figure, over.rounds[round] ?? Number.NaN));
  if ("beyondMs" in goal) {
    const values = perRound((mine, floor) => mine - floor);
    const reached = quantile(values, 0.5) <= goal.beyondMs;
    return { what: `${goal.of}, beyond ${goal.over}`, values, unit: "ms", goal: `at most ${goal.beyondMs} ms`, reached };
  }
  const isSpeed = "speed" in goal;
  const values = perRound((mine, floor) => (isSpeed ? floor / mine : mine / floor));
  const wanted = isSpeed ? goal.speed : goal.time;
  const sized = size === undefined ? "" : `, of ${size.toLocaleString("en")}`;
  const what = `${isSpeed ? "speed" : "time"} of ${goal.of}, to ${goal.over}${sized}`;
  if (wanted === "printed") return { what, values, unit: "x", goal: "" };
  const median = quantile(values, 0.5);
  return {
    what,
    values,
    unit: "x",
    goal: `${isSpeed ? "at least" : "at most"} ${wanted} x`,
    reached: isSpeed ? median >= wanted : median <= wanted,
  };
}
