import type { Cron } from "croner";
import { invalid } from "../../../domain/errors.js";
import type { Occurrences } from "../../../stores/process/schedules/schedules.rules.js";
import { lazy, mapLazy } from "../../lazy.js";

/** Loaded when a schedule first has a cron expression. */
export const cron = mapLazy(
  lazy("cron expressions", () => import("croner")),
  ({ Cron }) => ({
    /** Throws `invalid` for an expression that is broken or has no occurrence, and for an unknown zone. */
    check(expression: string, timeZone: string, nowMs: number): void {
      checkZone(timeZone);
      let next: Date | null;
      try {
        next = parse(Cron, expression, timeZone).nextRun(new Date(nowMs));
      } catch (cause) {
        const why = cause instanceof Error ? `: ${cause.message.replace(/^CronPattern: /, "")}` : "";
        throw invalid(`spec.when.cron must be a cron expression of five or six fields${why}`);
      }
      if (!next) throw invalid("spec.when.cron must have an occurrence: no date fits it");
    },
    occurrences: (expression: string, timeZone: string) => occurrencesOf(parse(Cron, expression, timeZone)),
  }),
);

export function machineZone(): string {
  return new Intl.DateTimeFormat().resolvedOptions().timeZone;
}

function checkZone(timeZone: string): void {
  try {
    // Names alone: an offset such as "+02:00" knows no clock changes.
    if (/^[A-Za-z]/.test(timeZone) && new Intl.DateTimeFormat("en", { timeZone })) return;
  } catch {
    // It is refused below.
  }
  throw invalid("spec.when.timeZone must be the IANA name of a time zone, such as Europe/Berlin");
}

function parse(Maker: typeof Cron, expression: string, timezone: string): Cron {
  const fields = expression.trim().split(/\s+/);
  // The library also takes dates and names such as "@daily".
  if (fields.length < 5 || fields.length > 6) throw new Error(`it has ${fields.length}`);
  const options = { timezone, mode: "5-or-6-parts", paused: true } as const;
  const asGiven = new Maker(expression, options);
  const listed = withLists(fields);
  return listed ? new Maker(listed, { ...options, fixedTimeRule: "no-wildcard" }) : asGiven;
}

/**
 * The expression with the steps of its times written out. The library moves local times over a clock change only where an expression has no
 * steps. Undefined for an expression that runs every hour.
 */
function withLists(fields: readonly string[]): string | undefined {
  const dateAt = fields.length - 3;
  const times = fields.slice(0, dateAt).map((field, at) => numbersOf(field, at === dateAt - 1 ? 24 : 60));
  if (times.at(-1)?.length === 24) return undefined;
  return [...times.map((numbers) => numbers.join(",")), ...fields.slice(dateAt)].join(" ");
}

/** What a field stands for that the library has taken: `*`, numbers and ranges, with or without a step. */
function numbersOf(field: string, size: number): number[] {
  const numbers = field.split(",").flatMap((part) => {
    const [range = "", step = "1"] = part.split("/");
    const [from, to = from] = /^[*?]/.test(range) ? [0, size - 1] : range.split("-").map(Number);
    return Array.from({ length: size }, (_, number) => number).filter(
      (number) => number >= Number(from) && number <= Number(to) && (number - Number(from)) % Number(step) === 0,
    );
  });
  return [...new Set(numbers)];
}

/** Each step of a cron expression costs a quarter of a millisecond. */
const MOST_COUNTED = 1_000;

function occurrencesOf(job: Cron): Occurrences {
  const after = (ms: number) => job.nextRun(new Date(ms))?.getTime();
  return {
    after,
    count(afterMs, upToMs) {
      let count = 0;
      for (let ms = after(afterMs); ms !== undefined && ms <= upToMs && count < MOST_COUNTED; ms = after(ms)) count++;
      return count;
    },
    last(most, afterMs, upToMs) {
      // The library looks for what is before a whole second.
      const runs = job.previousRuns(most, new Date(Math.floor(upToMs / 1_000) * 1_000 + 1_000));
      return runs
        .map((run) => run.getTime())
        .filter((ms) => ms > afterMs && ms <= upToMs)
        .reverse();
    },
  };
}
