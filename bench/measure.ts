import type { Bench, Measured, MeasuredRow, Variant, Work } from "./work.js";

const ROUNDS = 9;

/** The parts of a `Bench` that are the same in page and Node. */
export function scaled({ quick, peers }: { quick: boolean; peers: boolean }): Pick<Bench, "quick" | "size" | "peers"> {
  return {
    quick,
    size: (full, small) => (quick ? small : full),
    async peers(of) {
      if (!peers) return {};
      return Object.fromEntries(await Promise.all(Object.entries(of).map(async ([name, load]) => [name, await load()])));
    },
  };
}

/** Runs all variants in every round, each round in another order: a variant pays for a heavy one before it. */
export async function measure(work: Work, bench: Bench, only = ""): Promise<Measured> {
  const startedMs = performance.now();
  const stage = await work.open(bench);
  try {
    const variants = stage.variants.filter(({ name }) => name.startsWith(only));
    const figures = variants.map(() => [] as (number | readonly number[])[]);
    const rounds = bench.quick ? 1 : (work.rounds ?? ROUNDS);
    for (let round = bench.quick ? 0 : -1; round < rounds; round++) {
      for (const at of shuffled([...variants.keys()], round)) {
        const figure = await runOnce(variants[at] as Variant);
        // The first round only warms the engine up.
        if (round >= 0) figures[at]?.push(figure);
      }
    }
    const facts = (await stage.facts?.()) ?? [];
    const rows = variants.flatMap((variant, at) => rowsOf(variant, figures[at] ?? []));
    return { work: work.name, rows, facts, seconds: (performance.now() - startedMs) / 1_000 };
  } finally {
    await stage.close();
  }
}

async function runOnce(variant: Variant): Promise<number | readonly number[]> {
  await variant.prepare?.();
  // Time for the background work of the variant before.
  await new Promise((resolve) => setTimeout(resolve, 20));
  const startedMs = performance.now();
  const own = await variant.run();
  return own ?? (performance.now() - startedMs) / (variant.per ?? 1);
}

/** The same orders in every run. Each round has its own order, and no two variants are always neighbours. */
function shuffled<T>(list: readonly T[], round: number): T[] {
  const order = [...list];
  let seed = (round + 2) * 1_000_003;
  for (let at = order.length - 1; at > 0; at--) {
    seed = (seed * 48_271) % 2_147_483_647;
    const other = Math.floor((seed / 2_147_483_647) * (at + 1));
    [order[at], order[other]] = [order[other] as T, order[at] as T];
  }
  return order;
}

function rowsOf({ name, at }: Variant, figures: readonly (number | readonly number[])[]): MeasuredRow[] {
  const size = at === undefined ? {} : { at };
  if (!figures.some(Array.isArray)) return [{ name, ...size, rounds: figures as number[] }];
  const samples = figures as readonly (readonly number[])[];
  return [
    { name: `${name}, median`, ...size, rounds: samples.map((of) => quantile(of, 0.5)) },
    { name: `${name}, p95`, ...size, rounds: samples.map((of) => quantile(of, 0.95)) },
  ];
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? Number.NaN;
  return below + (above - below) * (place % 1);
}
