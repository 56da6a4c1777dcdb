import type { HoldfastError } from "../domain/errors.js";
import type { Change } from "../ports/notices.js";
import type { Durability, Reader, Write } from "../ports/storage.js";

/**
 * A command is a value: `load` only reads, `decide` is synchronous and pure. Both may run more than once, so ids, tokens and
 * hashes are part of the input. The corridor (corridor/run.ts) runs it: load, decide, writes, commit, one notice.
 */
export interface Command<Input, State, Reply> {
  readonly tables: readonly string[];
  load(reader: Reader, input: Input): Promise<State>;
  decide(state: State, input: Input, nowMs: number): Decision<Reply>;
  /** Whether it may run again when the outcome of its first commit is unknown: only if a key in its input makes that harmless. */
  repeatable?(input: Input): boolean;
  /** What its commit must survive. Absent: the kernel chooses. */
  readonly durability?: Durability;
}

/** What a command reads before it decides. */
export type StateOf<C> = C extends Command<infer _, infer State, infer __> ? State : never;

export type Decision<Reply> =
  | { readonly kind: "accept"; readonly reply: Reply; readonly writes: readonly Write[]; readonly changes: readonly Change[] }
  | { readonly kind: "refuse"; readonly error: HoldfastError }
  /** Nothing is written. `prepare` is awaited outside the transaction, then the command runs again. */
  | { readonly kind: "later"; readonly prepare: () => Promise<void> };

export function accept<Reply>(reply: Reply, writes: readonly Write[] = [], changes: readonly Change[] = []): Decision<Reply> {
  return { kind: "accept", reply, writes, changes };
}

export function refuse(error: HoldfastError): Decision<never> {
  return { kind: "refuse", error };
}

export function afterPreparing(prepare: () => Promise<void>): Decision<never> {
  return { kind: "later", prepare };
}

/** The corridor, as stores and compositions see it: their only way to the storage. */
export interface Corridor {
  run<Input, State, Reply>(command: Command<Input, State, Reply>, input: Input, options?: RunOptions): Promise<Reply>;
  query<T>(tables: readonly string[], read: (reader: Reader, now: () => number) => Promise<T>): Promise<T>;
}

export interface RunOptions {
  /** About how many JSON characters the command stores. Their sum bounds a group. */
  size?: number;
  /** The command gets a transaction of its own at once, beside the open group. Meant for the last write of a page that unloads. */
  atOnce?: boolean;
}
