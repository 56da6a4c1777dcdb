/** What a notice can be about: the one list, which the adapters check against too. */
export const ABOUT = [
  "registered",
  "record",
  "event",
  "lease",
  "grant",
  "host",
  "boot",
  "agent",
  "runtime",
  "messages",
  "input",
  "ops",
  "sealed",
] as const;

/** A hint that something changed, sent after its commit: read again. Never the truth, may be lost, doubled or late. */
export interface Change {
  readonly about: (typeof ABOUT)[number];
  /** A process id; for "host" (it goes) and "boot" (it came) a boot id; for "agent" an agent id; for "runtime", "messages", "input" and "ops" a runtime id; for "sealed" a name. */
  readonly id: string;
  /** Which of them, for "input"; for "agent" what became of it: "online", "offline" or "moved"; for "lease" "held", "ended" (with its process) or "idle" (given back, and none of its session's inputs can be run), absent where it may be free. */
  readonly member?: string;
  /** Of the newest event, for "event"; of the newest entry of the feed, for "ops"; of the write that changed it, for "input"; of the last such write that its holder knew of, for a "lease" that is "idle". */
  readonly sequence?: number;
}

export interface Notices {
  /** Tells the other tabs and workers and, in this one, every listener. Never throws: what a listener throws is told where uncaught errors go. */
  publish(changes: readonly Change[]): void;
  subscribe(listener: (changes: readonly Change[]) => void): () => void;
  /** Messages that were no notices. */
  readonly dropped: number;
  /** Hears nothing from outside until `resume`: a message would throw the page out of the back/forward cache. */
  pause(): void;
  resume(): void;
  close(): void;
}

/** BroadcastChannel's shape. `false` instead of a factory means that there is none. */
export type ChannelFactory = (name: string) => {
  postMessage(message: unknown): void;
  onmessage: ((event: { data: unknown }) => void) | null;
  close(): void;
};

/**
 * A word that reaches other pages when a page goes. What a page sends over its channel in that moment is lost every other time, and so is
 * what it asks of IndexedDB when another tab is in the way; a change of localStorage, which is made at once, was heard each time.
 * Only pages hear it: they pass it on.
 */
export interface Goodbyes {
  say(bootId: string): void;
  /** The last few that were said. */
  said(): string[];
  hear(listener: (bootId: string) => void): () => void;
}
