// Profiles a page: the time of its functions.
import type { Target } from "../test/tabs/chromium.js";

export interface Profile {
  /** The profile in the format of the developer tools. */
  readonly raw: unknown;
  /** The functions with the most time of their own, without that of the functions they called. */
  readonly top: readonly { readonly name: string; readonly ms: number }[];
}

interface RawProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  samples: number[];
  timeDeltas: number[];
}

export async function profiled<T>(page: Target, work: () => Promise<T>): Promise<{ result: T; profile: Profile }> {
  await page.send("Profiler.enable");
  await page.send("Profiler.setSamplingInterval", { interval: 200 });
  await page.send("Profiler.start");
  const result = await work();
  const { profile } = (await page.send("Profiler.stop")) as { profile: RawProfile };
  return { result, profile: { raw: profile, top: topOf(profile) } };
}

function topOf({ nodes, samples, timeDeltas }: RawProfile): Profile["top"] {
  const names = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => [
      id,
      `${functionName || "(anonymous)"}${url ? ` ${url.split("/").at(-1)}:${lineNumber + 1}` : ""}`,
    ]),
  );
  const spent = new Map<string, number>();
  for (const [at, id] of samples.entries()) {
    const name = names.get(id) ?? "";
    spent.set(name, (spent.get(name) ?? 0) + (timeDeltas[at] ?? 0) / 1_000);
  }
  return [...spent].map(([name, ms]) => ({ name, ms })).sort((a, b) => b.ms - a.ms);
}
