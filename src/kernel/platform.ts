import type { Corridor } from "../corridor/command.js";
import type { Timings } from "../domain/time.js";
import type { Clock } from "../ports/clock.js";
import type { Locks } from "../ports/locks.js";
import type { ChannelFactory, FarewellNotes, Notices } from "../ports/notices.js";
import type { Seal } from "../ports/seal.js";
import type { Durability, KernelStorage } from "../ports/storage.js";
import type { Retention } from "../stores/host/retention.js";
import type { Random } from "./host/ids.js";
import type { Loop, LoopPage } from "./host/loop-contract.js";
import type { Presence } from "./host/presence.js";
import type { Lazy } from "./lazy.js";
import type { LazyParts } from "./lazy-parts.js";

/** What a kernel is built from; the entry file wires it for the platform. */
export interface Platform {
  clock(): Clock;
  random: Random;
  storage(): KernelStorage;
  channel(): ChannelFactory | undefined;
  locks(): Locks | undefined;
  /** Undefined where nothing can be sealed. */
  seal(): Lazy<Seal> | undefined;
  /** The origin of the page or worker; undefined if there is none. */
  origin(): string | undefined;
  farewellNotes(databaseId: string): FarewellNotes | undefined;
  /** Keeps a Node program alive until the returned function is called. */
  keepAlive(): () => void;
  /** Whether loops can run in workers here. */
  workers(): boolean;
  /** Makes a loop that runs in this context. */
  readonly inlineLoop: Lazy<(parts: LoopStart) => Loop>;
  workerLoop(parts: LoopStart, worker: WorkerSource): Loop;
  readonly lazyParts: LazyParts;
}

export type WorkerSource = (() => Worker) | "default";

export interface LoopStart {
  readonly name: string;
  readonly databaseId: string;
  readonly storageKind: string;
  readonly durability: Durability;
  readonly timings: Timings;
  readonly corridor: Corridor;
  readonly notices: Notices;
  readonly presence: Presence;
  readonly retention: Retention;
  readonly clock: Clock;
  readonly locks: Locks | undefined;
  readonly page: LoopPage;
  newNonce(): string;
}
