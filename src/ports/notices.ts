/** The topics of notices. `corridor/notices.ts` checks what it receives against this list. */
export const ABOUT = [
  "registered",
  "record",
  "event",
  "lease",
  "limit",
  "parked",
  "grant",
  "host",
  "boot",
  "agent",
  "runtime",
  "messages",
  "input",
  "ops",
  "sealed",
  "schedule",
] as const;

/** A hint that something changed, sent after its commit: read again. A notice may be lost, doubled or late. */
export interface Change {
  readonly about: (typeof ABOUT)[number];
  /**
   * A process id; for "parked" what a host must have to run a process that no host may claim yet; for "limit" a limit's key: a place of it
   * may be free, or it holds a process back; for "host" (it went) and "boot" (it came) a boot id; for "agent" an agent id; for "runtime",
   * "messages", "input" and "ops" a runtime id; for "sealed" a name; for "schedule" its id.
   */
  readonly id: string;
  /**
   * The input id of an "input". The new state of an "agent": "online", "offline" or "moved". The new state of a "lease": "held",
   * "ended" (with its process), "parked" (free, and no host may claim it yet) or "idle" (given back, and no input of its session can run);
   * absent where it may be free. "parked" of a "registered" process that no host may claim yet.
   */
  readonly member?: string;
  /**
   * When a "parked" process is due. The number of the newest "event". The newest entry of the feed of "ops". The number of the write that changed an "input". The
   * last such write that the holder of an "idle" lease knew.
   */
  readonly sequence?: number;
}

/** The channel of notices between the tabs and workers of one database. */
export interface Notices {
  /**
   * Tells the other tabs and workers, and every listener in this one. Never throws: a listener's error is reported as uncaught.
   */
  publish(changes: readonly Change[]): void;
  subscribe(listener: (changes: readonly Change[]) => void): () => void;
  /** Count of received messages that were no notices. */
  readonly dropped: number;
  /** Receives nothing from outside until `resume`: a message would throw the page out of the back/forward cache. */
  pause(): void;
  resume(): void;
  close(): void;
}

/** Opens a channel with BroadcastChannel's shape. `false` instead of a factory means that there is no channel. */
export type ChannelFactory = (name: string) => {
  /** Sends a message to every other channel of the name. Never throws for plain data. */
  postMessage(message: unknown): void;
  /** Called with each message of another channel. */
  onmessage: ((event: { data: unknown }) => void) | null;
  /** Ends the channel. */
  close(): void;
};

/**
 * Notes of farewell that a closing page leaves for other pages. A message on the channel is lost every other time when its page
 * closes. A request to IndexedDB is lost when another tab blocks it. A change of localStorage is made at once and was heard each
 * time. Only pages hear it; they pass it on.
 */
export interface FarewellNotes {
  say(bootId: string): void;
  /** Boot ids of the last few farewells. */
  said(): string[];
  hear(listener: (bootId: string) => void): () => void;
  /** Removes all notes: the database is deleted. */
  burn(): void;
}
