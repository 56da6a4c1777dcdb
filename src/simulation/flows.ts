// What flows and schedules are asked to do: the work asks for it, and the judge knows it.

/** One thing that a flow does. What it waits for stands in the key of the wait, so that the judge can tell what was asked. */
export type Deed =
  | { do: "sleep"; forMs: number }
  | { do: "until"; atMs: number }
  | { do: "wait"; name: string; timeoutMs?: number }
  | { do: "pair"; name: string }
  | { do: "try" };

/** What a flow is to do, told in its input: every owner does the same. */
export interface FlowShape {
  deeds: Deed[];
  /** The lane of its limit, if its handler has lanes. */
  lane: number;
  /** Its handler throws at the end of a run by chance. */
  stumbles: boolean;
  startAtMs: number;
}

export const SIGNAL_NAMES = ["go", "stop"] as const;

/** A pause is at least so long: the jitter is a fifth. */
export const LEAST_PAUSE_MS = 400;
/** Of a step and of a handler. */
export const FLOW_TRIES = 3;

/** The limits of the handlers that have one, by key. */
export const FLOW_LIMITS: Readonly<Record<string, { concurrency: number; rate?: { count: number; perMs: number } }>> = {
  narrow: { concurrency: 2, rate: { count: 3, perMs: 4_000 } },
  "lane 0": { concurrency: 1 },
  "lane 1": { concurrency: 1 },
};

/** The key under which the runs of a handler are limited; undefined if they are not. */
export function flowLimitKey(handler: string | undefined, { lane }: Pick<FlowShape, "lane">): string | undefined {
  return handler === "narrow" ? handler : handler === "lanes" ? `lane ${lane}` : undefined;
}

/** As a cron expression: every five seconds. */
export const CRON = "*/5 * * * * *";
export const CRON_EVERY_MS = 5_000;
