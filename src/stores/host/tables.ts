import { flag, maybe, type RowOf, table, text, time, whole } from "../table.js";

/** Kept as long as its process or session: a floor takes the place of its fence then, which must never go back. */
export const leases = table("leases", {
  key: ["resource"],
  indexes: { byBoot: ["bootId", "resource"] },
  columns: {
    /** A process id; other kinds of resource have a prefix of their own. */
    resource: text,
    fencingToken: whole,
    /** Grants since there is this row. Absent in rows of schemas before 5, where the fence says it. */
    attempts: maybe(whole),
    claimedAtMs: time,
    expiresAtMs: time,
    /** Only while it is held. */
    ownerId: maybe(text),
    leaseToken: maybe(text),
    /** Only while it is held by a host's runner: how a dead host's leases are found. */
    hostId: maybe(text),
    bootId: maybe(text),
    /** Only while its host holds a Web Lock: without one, a free lock says nothing of its life. */
    locked: maybe(flag),
    /** Claims in a row, before the last one, that ended out of order and left nothing stored. */
    fruitless: whole,
    /** Only after a release by an owner that ended in order. */
    endedInOrder: maybe(flag),
  },
});
export type LeaseRow = RowOf<typeof leases>;

/** A tab or process, since its last boot. It beats for all its agents in this one row. */
export const hosts = table("hosts", {
  key: ["bootId"],
  columns: {
    bootId: text,
    hostId: text,
    lastSeenAtMs: time,
    /** Only while it holds a Web Lock. */
    locked: maybe(flag),
    /** How many of its agents were registered or deregistered elsewhere: it looks after them when this changes. */
    moves: maybe(whole),
    /** How often it was given up and came back: so many incarnations more have its agents. */
    revivals: maybe(whole),
    /** Both only while its agents are offline by it: it went in order, its lock fell free, or it was silent for too long. */
    end: maybe(text<"left" | "crashed" | "silent">),
    endedAtMs: maybe(time),
  },
});
export type HostRow = RowOf<typeof hosts>;

/** A page that ended in order and could not wait until its leases were handed back. */
export const farewells = table("farewells", {
  key: ["bootId"],
  columns: { bootId: text, hostId: text, endedAtMs: time },
});
export type FarewellRow = RowOf<typeof farewells>;

/** What its host's row says of an agent is not written here again: neither beats nor the end of a host change its agents' rows. */
export const agents = table("agents", {
  key: ["agentId"],
  indexes: { byBoot: ["bootId", "agentId"], lone: ["loneSeenAtMs", "agentId"], ended: ["endedAtMs", "agentId"] },
  columns: {
    agentId: text,
    /** Registrations so far. */
    incarnation: whole,
    /** Of the first one. */
    registeredAtMs: time,
    lastSeenAtMs: time,
    /** Of the call that registered it last. */
    ticket: text,
    /** Only where a host beats for it; the boot only while it is registered. */
    hostId: maybe(text),
    bootId: maybe(text),
    /** The revivals of its host when it was registered. */
    revivals: maybe(whole),
    /** `lastSeenAtMs` again, only while it is registered and no host beats for it. */
    loneSeenAtMs: maybe(time),
    /** Both only when it is over by itself, not by its host. */
    ended: maybe(text<"deregistered" | "expired">),
    endedAtMs: maybe(time),
  },
});
export type AgentRow = RowOf<typeof agents>;

/** The highest number that a removed row of a kind had: a new row of that kind counts on from there. */
export const floors = table("floors", {
  key: ["name"],
  columns: { name: text<"leases" | "sealed">, floor: whole },
});
export type FloorRow = RowOf<typeof floors>;
