import { flag, list, maybe, type RowOf, table, text, time, whole } from "../table.js";

/** A lease is kept as long as its process or session. After that a floor keeps its fencing token, which must never go back. */
export const leases = table("leases", {
  key: ["resource"],
  indexes: { byBoot: ["bootId", "resource"], byLimit: ["limitKey", "resource"] },
  columns: {
    /** A process id. Other kinds of resource have a prefix of their own. */
    resource: text,
    fencingToken: whole,
    /** Grants of this row. Absent in rows of schemas before 5, whose fencing token is that number. */
    attempts: maybe(whole),
    claimedAtMs: time,
    expiresAtMs: time,
    /** Only while it is held. */
    ownerId: maybe(text),
    leaseToken: maybe(text),
    /** Only while a host's runner holds it. The leases of a dead host are found by this. */
    hostId: maybe(text),
    bootId: maybe(text),
    /** Only while its host holds a Web Lock: for a host without one, a free lock proves nothing. */
    locked: maybe(flag),
    /** Only while a host's runner holds it, whose handler has a limit: the key of the limit. It takes one of the places of that key. */
    limitKey: maybe(text),
    /** Consecutive claims, before the last one, that ended out of order and stored nothing. */
    fruitless: whole,
    /** Only while it is held: at the last renewal that knew of it, its handler did nothing but wait. Its death then uses up no attempt. */
    waiting: maybe(flag),
    /** Only after the end of an owner that uses up no attempt: it ended in order, or did nothing but wait. */
    endedInOrder: maybe(flag),
  },
});
export type LeaseRow = RowOf<typeof leases>;

/** One boot of a tab, a worker or a program. It beats for all its agents in this one row. */
export const hosts = table("hosts", {
  key: ["bootId"],
  columns: {
    bootId: text,
    hostId: text,
    lastSeenAtMs: time,
    /** Only while it holds a Web Lock. */
    locked: maybe(flag),
    /** How many of its agents were registered or deregistered elsewhere. The host looks at its agents when this changes. */
    moves: maybe(whole),
    /** How often it was given up and came back. Each time adds one to the incarnation of its agents. */
    revivals: maybe(whole),
    /** The names of its handlers. Absent in rows of schemas before 6: such a host may have any handler. */
    handlers: maybe(list<string>),
    /** Only if it runs turns of all sessions, whether it has them open or not. */
    turns: maybe(flag),
    /** Both only after its end: it left in order, its lock fell free, or it was silent for too long. Its agents are offline then. */
    end: maybe(text<"left" | "crashed" | "silent">),
    endedAtMs: maybe(time),
  },
});
export type HostRow = RowOf<typeof hosts>;

/** The farewell of a page that ended in order, but could not wait until its leases were released. */
export const farewells = table("farewells", {
  key: ["bootId"],
  columns: { bootId: text, hostId: text, endedAtMs: time },
});

/** An agent's row does not repeat what its host's row says: neither a beat nor the end of a host changes it. */
export const agents = table("agents", {
  key: ["agentId"],
  indexes: { byBoot: ["bootId", "agentId"], lone: ["loneSeenAtMs", "agentId"], ended: ["endedAtMs", "agentId"] },
  columns: {
    agentId: text,
    /** Registrations so far. */
    incarnation: whole,
    /** The time of the first registration. */
    registeredAtMs: time,
    lastSeenAtMs: time,
    /** The ticket of the call that registered it last. */
    ticket: text,
    /** Only if a host beats for it; `bootId` only while it is registered. */
    hostId: maybe(text),
    bootId: maybe(text),
    /** The `revivals` of its host when it was registered. */
    revivals: maybe(whole),
    /** `lastSeenAtMs` again, only while it is registered and no host beats for it. */
    loneSeenAtMs: maybe(time),
    /** Both only if it ended by itself, not with its host. */
    ended: maybe(text<"deregistered" | "expired">),
    endedAtMs: maybe(time),
  },
});
export type AgentRow = RowOf<typeof agents>;

/** The highest number of any removed row of a kind. A new row of that kind counts on from there. */
export const floors = table("floors", {
  key: ["name"],
  columns: { name: text<"leases" | "sealed">, floor: whole },
});
export type FloorRow = RowOf<typeof floors>;
