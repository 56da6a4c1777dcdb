import { describe, expect, it } from "vitest";
import { over, seen } from "../../../src/stores/host/hosts.rules.js";
import {
  agentRecordOf,
  agentStateOf,
  detached,
  endedAgent,
  heard,
  notRegistered,
  registered,
} from "../../../src/stores/host/lifecycle.rules.js";
import type { AgentRow, HostRow } from "../../../src/stores/host/tables.js";

const HOST: HostRow = { v: 1, bootId: "b", hostId: "h", lastSeenAtMs: 1_000 };
const lone = registered(undefined, undefined, { agentId: "a", ticket: "t", host: undefined }, 1_000);
const hosted = registered(undefined, undefined, { agentId: "a", ticket: "t", host: HOST }, 1_000);
const at = (nowMs: number, staleAfterMs = 150) => ({ nowMs, staleAfterMs });
const registrationOf = (row: AgentRow, host: HostRow | undefined, nowMs: number) =>
  agentStateOf(row, host, at(nowMs)).registration;

describe("an agent", () => {
  it("is registered, seen now and of the first incarnation when it is new (Y-1)", () => {
    expect(agentRecordOf(lone, undefined, at(1_000))).toEqual({
      agentId: "a",
      status: "online",
      registration: "registered",
      incarnation: 1,
      registeredAtMs: 1_000,
      lastSeenAtMs: 1_000,
    });
  });

  it("is expired at the very threshold, and registered a millisecond before it (Y-11, V-43)", () => {
    expect(registrationOf(lone, undefined, 1_149)).toBe("registered");
    expect(registrationOf(lone, undefined, 1_150)).toBe("expired");
  });

  it("is another incarnation after every registration, with the first one's time (Y-2)", () => {
    const again = registered(lone, undefined, { agentId: "a", ticket: "u", host: undefined }, 2_000);
    expect(again).toMatchObject({ incarnation: 2, registeredAtMs: 1_000, lastSeenAtMs: 2_000, ticket: "u" });
    const back = registered(
      endedAgent(again, undefined, "deregistered", 3_000),
      undefined,
      { agentId: "a", ticket: "v", host: HOST },
      4_000,
    );
    expect(back).toMatchObject({ incarnation: 3, registeredAtMs: 1_000, bootId: "b" });
    expect(back).not.toHaveProperty("ended");
    expect(back).not.toHaveProperty("loneSeenAtMs");
  });

  it("is never seen earlier than before (Y-3)", () => {
    expect(heard(lone, 2_000)).toMatchObject({ lastSeenAtMs: 2_000, loneSeenAtMs: 2_000 });
    expect(heard(lone, 500)).toEqual(lone);
    expect(heard(hosted, 2_000)).not.toHaveProperty("loneSeenAtMs");
  });

  it("that is deregistered or expired is told apart, and is in no index of the living (Y-12)", () => {
    for (const how of ["deregistered", "expired"] as const) {
      const row = endedAgent(hosted, HOST, how, 1_100);
      expect(registrationOf(row, undefined, 1_100)).toBe(how);
      expect(row).not.toHaveProperty("bootId");
      expect(row).not.toHaveProperty("loneSeenAtMs");
      expect(row).toMatchObject({ endedAtMs: 1_100, hostId: "h" });
    }
  });
});

describe("an agent of a host", () => {
  it("was seen when its host was, or itself, whichever is later (Y-20)", () => {
    expect(agentStateOf(hosted, { ...HOST, lastSeenAtMs: 1_400 }, at(1_500))).toMatchObject({
      registration: "registered",
      lastSeenAtMs: 1_400,
    });
    expect(agentStateOf(heard(hosted, 1_450), HOST, at(1_500))).toMatchObject({
      registration: "registered",
      lastSeenAtMs: 1_450,
    });
    expect(registrationOf(hosted, { ...HOST, lastSeenAtMs: 1_400 }, 1_550)).toBe("expired");
  });

  it.each([
    ["left", "deregistered"],
    ["crashed", "expired"],
    ["silent", "expired"],
  ] as const)("whose host %s is %s at once, and its incarnation is told to be over", (end, registration) => {
    expect(agentStateOf(hosted, over(HOST, end, 1_010), at(1_010))).toMatchObject({ registration, isTold: true });
  });

  it("is not told to be over by silence alone", () => {
    expect(agentStateOf(hosted, HOST, at(9_999))).toMatchObject({ registration: "expired", isTold: false });
  });

  it("goes by its own row where its host has none", () => {
    expect(registrationOf(hosted, undefined, 1_149)).toBe("registered");
    expect(registrationOf(hosted, undefined, 1_150)).toBe("expired");
  });

  it("is one incarnation more with every return of its host, also in what is written of it later (V-28)", () => {
    const back = seen(
      over(seen(over(HOST, "silent", 2_000), { ...HOST, locked: false, turns: false }, 3_000), "silent", 4_000),
      { ...HOST, locked: false, turns: false },
      5_000,
    );
    expect(agentStateOf(hosted, back, at(5_000))).toMatchObject({ registration: "registered", incarnation: 3 });
    expect(endedAgent(hosted, back, "deregistered", 5_000).incarnation).toBe(3);
    expect(detached(hosted, back)).toMatchObject({ incarnation: 3, loneSeenAtMs: 1_000 });
    // The agent is registered under this host now: earlier revivals are in its incarnation.
    const again = registered(hosted, back, { agentId: "a", ticket: "u", host: back }, 5_000);
    expect(agentStateOf(again, back, at(5_000)).incarnation).toBe(4);
  });
});

describe("what is shown of an agent", () => {
  it("is offline once its registration is over, and names its host", () => {
    expect(agentRecordOf(hosted, HOST, at(1_000))).toEqual({
      agentId: "a",
      status: "online",
      registration: "registered",
      incarnation: 1,
      registeredAtMs: 1_000,
      lastSeenAtMs: 1_000,
      hostId: "h",
    });
    expect(agentRecordOf(hosted, HOST, at(9_999))).toMatchObject({ status: "offline", registration: "expired" });
    expect(agentRecordOf(lone, undefined, at(1_000))).not.toHaveProperty("hostId");
  });

  it("is not told by a host that does not beat for it", () => {
    const later = { ...HOST, lastSeenAtMs: 5_000, revivals: 3, end: "left" as const };
    expect(agentStateOf(lone, later, at(1_000))).toEqual({
      registration: "registered",
      incarnation: 1,
      lastSeenAtMs: 1_000,
      isTold: false,
    });
  });

  it("that is not registered is refused by its id", () => {
    expect(notRegistered("a")).toMatchObject({ code: "not-found", details: { agentId: "a" } });
  });
});

describe("an agent's row", () => {
  const revived: HostRow = { ...HOST, revivals: 2 };
  const ofRevived = registered(undefined, undefined, { agentId: "a", ticket: "t", host: revived }, 1_000);

  it("has the returns of its host so far, where there are any, or that it is on its own", () => {
    expect(ofRevived).toEqual({
      v: 1,
      agentId: "a",
      incarnation: 1,
      registeredAtMs: 1_000,
      lastSeenAtMs: 1_000,
      ticket: "t",
      hostId: "h",
      bootId: "b",
      revivals: 2,
    });
    expect(hosted).not.toHaveProperty("revivals");
    expect(lone).toMatchObject({ loneSeenAtMs: 1_000 });
    expect(agentStateOf(ofRevived, { ...revived, revivals: 3 }, at(1_000)).incarnation).toBe(2);
  });

  it("keeps nothing of its host's returns once it has ended or is on its own", () => {
    expect(endedAgent(ofRevived, revived, "expired", 2_000)).not.toHaveProperty("revivals");
    const { bootId: _, revivals: __, ...rest } = ofRevived;
    expect(detached(ofRevived, revived)).toEqual({ ...rest, loneSeenAtMs: 1_000 });
  });

  it("ends as seen last, by itself or by its host, and expired by no silence", () => {
    expect(endedAgent(hosted, { ...HOST, lastSeenAtMs: 1_400 }, "deregistered", 9_999)).toMatchObject({
      lastSeenAtMs: 1_400,
      ended: "deregistered",
      incarnation: 1,
    });
  });
});
