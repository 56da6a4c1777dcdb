import { describe, expect, it } from "vitest";
import { createSightings, type Instant, later } from "../../../src/stores/host/liveness.rules.js";

const now = (wallMs: number, monotonicMs = wallMs): Instant => ({ wallMs, monotonicMs });

describe("a sighting", () => {
  it("counts until its end, and at the very end no more, by either clock (V-14, V-15)", () => {
    const sightings = createSightings(10);
    sightings.touch("a", now(100, 50), true);
    expect(sightings.isAlive("a", now(99, 49))).toBe(true);
    expect(sightings.isAlive("a", now(100, 49))).toBe(false);
    expect(sightings.isAlive("a", now(99, 50))).toBe(false);
  });

  it("is replaced by the last one, also by a shorter one (V-3)", () => {
    const sightings = createSightings(10);
    sightings.touch("a", now(100), true);
    sightings.touch("a", now(50), true);
    expect(sightings.isAlive("a", now(50))).toBe(false);
  });

  it("is moved by both clocks alike", () => expect(later(now(5, 7), 10)).toEqual(now(15, 17)));
});

describe("the members of a host", () => {
  it("live while it beats, without a record of their own", () => {
    const sightings = createSightings(10);
    sightings.join("b", "a", true);
    expect(sightings.isAlive("a", now(0))).toBe(false);
    sightings.beat("b", 0, now(100), true);
    expect(sightings.isAlive("a", now(99))).toBe(true);
    expect(sightings.isAlive("a", now(100))).toBe(false);
    expect(sightings.lastBeat("b", now(99))).toBe(0);
    expect(sightings.lastBeat("b", now(100))).toBeUndefined();
  });

  it("belong to the host that they joined last", () => {
    const sightings = createSightings(10);
    sightings.join("b", "a", true);
    sightings.join("c", "a", true);
    expect([sightings.isMember("b", "a"), sightings.isMember("c", "a")]).toEqual([false, true]);
    sightings.leave("b", "a");
    expect(sightings.isMember("c", "a")).toBe(true);
  });

  it("are forgotten whole: record and membership (V-4)", () => {
    const sightings = createSightings(10);
    sightings.join("b", "a", true);
    sightings.beat("b", 0, now(100), true);
    sightings.touch("a", now(100), true);
    sightings.forget("a");
    sightings.forget("nobody");
    expect(sightings.isAlive("a", now(1))).toBe(false);
    expect(sightings.isMember("b", "a")).toBe(false);
  });
});

describe("a host's beat", () => {
  it("says when it was, until its end by either clock", () => {
    const sightings = createSightings(10);
    sightings.beat("b", 7, now(100, 50), true);
    expect(sightings.lastBeat("b", now(99, 49))).toBe(7);
    expect(sightings.lastBeat("b", now(99, 50))).toBeUndefined();
    expect(sightings.lastBeat("b", now(100, 49))).toBeUndefined();
    expect(sightings.lastBeat("other", now(0))).toBeUndefined();
  });

  it("is nothing to an id of no host", () => {
    const sightings = createSightings(10);
    sightings.beat("b", 0, now(100), true);
    expect(sightings.isAlive("a", now(1))).toBe(false);
    expect(sightings.isMember("b", "a")).toBe(false);
  });
});

describe("a member that leaves", () => {
  it("leaves the others, and only the host that it belongs to", () => {
    const sightings = createSightings(10);
    sightings.join("b", "a", true);
    sightings.join("b", "c", true);
    sightings.leave("other", "a");
    expect([sightings.isMember("b", "a"), sightings.isMember("b", "c")]).toEqual([true, true]);
    sightings.leave("b", "a");
    expect([sightings.isMember("b", "a"), sightings.isMember("b", "c")]).toEqual([false, true]);
    expect(sightings.size).toBe(1);
  });
});

describe("the table", () => {
  it("takes no more of others than fits, renews what it has, and takes one's own always", () => {
    const sightings = createSightings(2);
    expect([sightings.touch("a", now(100), false), sightings.beat("b", 0, now(100), false)]).toEqual([true, true]);
    expect([
      sightings.touch("c", now(100), false),
      sightings.beat("d", 0, now(100), false),
      sightings.join("b", "e", false),
      sightings.touch("a", now(200), false),
      sightings.join("b", "e", true),
    ]).toEqual([false, false, false, true, true]);
    expect(sightings.size).toBe(3);
    expect(sightings.isAlive("c", now(1))).toBe(false);
  });

  it("is rid of what is over, and of the members of hosts that are, but for one's own", () => {
    const sightings = createSightings(10);
    sightings.touch("a", now(10), true);
    sightings.touch("b", now(99), true);
    sightings.beat("gone", 0, now(10), true);
    sightings.join("gone", "c", true);
    sightings.join("own", "d", true);
    sightings.purge(now(10), "own");
    expect(sightings.size).toBe(2);
    expect([sightings.isMember("own", "d"), sightings.isMember("gone", "c")]).toEqual([true, false]);
    expect(sightings.touched(now(10))).toEqual([["b", 89]]);
  });

  it("tells for how long a record counts by the clock that ends it first", () => {
    const sightings = createSightings(10);
    sightings.touch("a", now(100, 50), true);
    sightings.touch("b", now(100, 300), true);
    expect(sightings.touched(now(10, 10))).toEqual([
      ["a", 40],
      ["b", 90],
    ]);
  });

  it("tells of no record that is over, also before it is rid of it", () => {
    const sightings = createSightings(10);
    sightings.touch("a", now(100), true);
    expect([sightings.touched(now(99)), sightings.touched(now(100))]).toEqual([[["a", 1]], []]);
  });

  it("keeps what it has of a beat and of a membership when it is full, and changes it", () => {
    const sightings = createSightings(2);
    expect([sightings.beat("b", 0, now(100), false), sightings.join("b", "a", false)]).toEqual([true, true]);
    expect([sightings.beat("b", 5, now(200), false), sightings.join("c", "a", false)]).toEqual([true, true]);
    expect(sightings.lastBeat("b", now(150))).toBe(5);
    expect(sightings.isMember("c", "a")).toBe(true);
    expect([sightings.beat("c", 0, now(100), false), sightings.join("b", "d", false)]).toEqual([false, false]);
    expect(sightings.lastBeat("c", now(50))).toBeUndefined();
    expect(sightings.isMember("b", "d")).toBe(false);
    expect([sightings.touch("e", now(100), true), sightings.beat("c", 1, now(100), true)]).toEqual([true, true]);
    expect(sightings.size).toBe(4);
  });

  it("keeps the beats and the members of hosts that are there", () => {
    const sightings = createSightings(10);
    sightings.beat("b", 3, now(99), true);
    sightings.join("b", "a", true);
    sightings.purge(now(10), undefined);
    expect(sightings.lastBeat("b", now(10))).toBe(3);
    expect(sightings.isMember("b", "a")).toBe(true);
  });
});
