/** What the world does to hosts. All of it can happen to a browser's tabs. */
export const FAULTS = [
  /** A host dies at one of its storage awaits, without a word. */
  "crash",
  /** A kernel closes, and opens again. */
  "leave",
  "freeze",
  /** A host that holds a lease wakes about when it ends, and is slow for a while. */
  "slowWake",
  /** The machine sleeps: all hosts freeze, and wake together. */
  "sleep",
  /** A host's storage and timers are slow; its transactions keep everybody waiting. */
  "slow",
  "clockForward",
  "clockBack",
  /** Messages between hosts. */
  "lost",
  "doubled",
  "delayed",
  "reordered",
  /** A transaction fails at one of its requests, or at its commit. */
  "aborted",
  "quota",
  /** The connection is lost before a commit is asked for. */
  "cut",
  /** The connection is lost between a commit and its answer: whether it is stored is told to no caller. */
  "unheard",
  /** The database is deleted under everybody. */
  "wiped",
  /** A host has no Web Locks. */
  "lockless",
] as const;

export type FaultKind = (typeof FAULTS)[number];
