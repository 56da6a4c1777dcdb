import type { Bench, Measured, MeasuredRow, Variant, Work } from "./work.js";

const ROUNDS = 9;

/** All variants in every round, each time beginning with another: whoever comes after a heavy one pays for it. */
export async function measure(work: Work, bench: Bench, only = ""): Promise<Measured> {
  const startedMs = performance.now();
  const stage = await work.open(bench);
  try {
    const variants = stage.variants.filter(({ name }) => name.startsWith(only));
    const figures = variants.map(() => [] as (number | readonly number[])[]);
    const rounds = bench.quick ? 1 : (work.rounds ?? ROUNDS);
    for (let round = bench.quick ? 0 : -1; round < rounds; round++) {
      for (const at of turned([...variants.keys()], round)) {
        const figure = await runOnce(variants[at] as Variant);
        // The first round is for the engine to get warm.
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
  // What the one before left to be done in the background is not this one's.
  await new Promise((resolve) => setTimeout(resolve, 20));
  const startedMs = performance.now();
  const own = await variant.run();
  return own ?? (performance.now() - startedMs) / (variant.per ?? 1);
}

function turned<T>(list: readonly T[], round: number): T[] {
  const from = Math.max(0, round) % Math.max(1, list.length);
  const order = [...list.slice(from), ...list.slice(0, from)];
  return round % 2 === 0 ? order : order.reverse();
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
