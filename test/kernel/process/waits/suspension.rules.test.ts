import { expect, it } from "vitest";
import { suspendsInMs } from "../../../../src/kernel/process/waits/suspension.rules.js";

const timer = (dueAtMs: number) => ({ kind: "timer" as const, key: "t", dueAtMs });
const signal = { kind: "signal" as const, key: "s", name: "go" };
const NOW = 1_000_000;

it.each<[what: string, waits: Parameters<typeof suspendsInMs>[0], afterMs: number, inMs: number | undefined]>([
  ["a wait that may end before: the whole time", [timer(NOW + 60_000)], 60_000, 60_000],
  ["a wait that ends later: a second", [timer(NOW + 60_001)], 60_000, 1_000],
  ["a wait without an end: a second", [signal], 60_000, 1_000],
  ["several, of which one may end before: the whole time", [signal, timer(NOW + 5), timer(NOW + 90_000)], 60_000, 60_000],
  ["several that all end later: a second", [signal, timer(NOW + 90_000)], 60_000, 1_000],
  ["a shorter time than a second: that", [signal], 300, 300],
  ["no time: at once", [timer(NOW + 1)], 0, 0],
  ["a time without end: never", [signal], Number.POSITIVE_INFINITY, undefined],
  ["no wait: never", [], 0, undefined],
])("suspends a run with %s (F-18)", (_, waits, afterMs, inMs) => {
  expect(suspendsInMs(waits, afterMs, NOW)).toBe(inMs);
});

it("of a run with any number of waits (F-18)", () => {
  expect(suspendsInMs(Array(300_000).fill(timer(NOW + 5)), 60_000, NOW)).toBe(60_000);
});
