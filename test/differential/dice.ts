/** Mulberry32: every draw follows from the seed. */
export interface Dice {
  /** A number from 0 up to, not including, `most`. */
  below(most: number): number;
  pick<T>(list: readonly T[]): T;
  /** True with the odds `times` in `of`. */
  chance(times: number, of: number): boolean;
  bytes(count: number): Uint8Array;
}

export function dice(seed: number): Dice {
  let state = seed;
  const roll = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (most: number) => Math.floor(roll() * most);
  return {
    below,
    pick: (list) => list[below(list.length)] as (typeof list)[number],
    chance: (times, of) => below(of) < times,
    bytes: (count) => Uint8Array.from({ length: count }, () => below(256)),
  };
}
