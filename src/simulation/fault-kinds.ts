/** The faults that strike hosts. All of them can happen to the tabs of a browser. */
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
  /** A host's storage and timers are slow; its transactions keep all hosts waiting. */
  "slow",
  "clockForward",
  "clockBack",
  /** Messages between hosts are lost, doubled, delayed or overtaken. */
  "lost",
  "doubled",
  "delayed",
  "reordered",
  /** A transaction fails at one of its requests, or at its commit. */
  "aborted",
  "quota",
  /** The connection is lost before a commit is asked for. */
  "cut",
  /** The connection is lost between a commit and its answer: the caller is not told whether it is stored. */
  "unheard",
  /** The database is deleted under all hosts. */
  "wiped",
  /** A host has no Web Locks. */
  "lockless",
] as const;

/**
 * A fault that strikes a host.
 * @useDeclaredType
 */
export type FaultKind = (typeof FAULTS)[number];
