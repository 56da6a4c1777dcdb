import type { SimulationReport } from "./chronicle.js";
import type { SimulationOptions } from "./options.js";
import { simulate } from "./simulate.js";

/**
 * A shorter history that breaks the same rule: planned steps are left out, many at once at first, for as long as it still breaks. Each try is
 * a run, of which there are at most `mostRuns`.
 */
export async function shrink(options: SimulationOptions, failed: SimulationReport, mostRuns = 200): Promise<SimulationReport> {
  const rule = failed.failure?.rule;
  let best = failed;
  let runs = 0;

  async function isEnough(numbers: readonly number[]): Promise<boolean> {
    runs++;
    const report = await simulate({ ...options, only: numbers });
    if (report.failure?.rule !== rule) return false;
    best = report;
    return true;
  }

  /** Those that were planned behind the failure were never run. */
  const numbersOf = ({ steps }: SimulationReport) => steps.map(({ number }) => number);
  for (let size = Math.ceil(best.steps.length / 2); size >= 1 && runs < mostRuns; ) {
    const before = numbersOf(best);
    for (let at = 0; at < before.length && runs < mostRuns; at += size) {
      const left = new Set(before.slice(at, at + size));
      const rest = numbersOf(best).filter((number) => !left.has(number));
      if (rest.length < best.steps.length) await isEnough(rest);
    }
    // At single steps, once more for as long as it helps.
    if (size === 1 && best.steps.length === before.length) break;
    size = Math.max(1, size >> 1);
  }
  return best;
}
