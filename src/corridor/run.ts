import { copyOf } from "../domain/copy.js";
import { asHoldfastError, HoldfastError } from "../domain/errors.js";
import type { Clock } from "../ports/clock.js";
import type { Change, Notices } from "../ports/notices.js";
import type { OpenStorage, TableSchema, Transaction } from "../ports/storage.js";
import { type Command, type Corridor, type Decision, type RunOptions, refuse } from "./command.js";
import { RowCache } from "./row-cache.js";

/**
 * The corridor runs every command of every store. It is the only caller of the storage.
 *
 *     load (reads)  ->  decide (pure)  ->  writes as data  ->  commit  ->  one notice
 *
 * Commands that wait while a transaction is open form a group: they run together in the next one, over the union of their
 * tables. First all loads run at once and fill a row cache. Then each command, one by one, loads again from the cache and
 * decides on what the commands before it wrote. A command that throws or refuses has written nothing and harms no other.
 */
interface CorridorParts {
  readonly storage: OpenStorage;
  readonly tables: Readonly<Record<string, TableSchema>>;
  readonly notices: Notices;
  readonly clock: Clock;
}

const MOST_GROUP_COMMANDS = 256;
const MOST_GROUP_CHARACTERS = 1_048_576;
const MOST_PREPARATIONS = 3;

/** A command that waits for its group or runs in it. Only its own functions know the types of its input and reply. */
interface QueuedCommand {
  readonly command: Command<unknown, unknown, unknown>;
  readonly input: unknown;
  readonly size: number;
  preparations: number;
  resolve(reply: unknown): void;
  reject(error: unknown): void;
}

export function createCorridor(parts: CorridorParts): Corridor & { close(): Promise<void> } {
  const { storage, tables, notices, clock } = parts;
  const queue: QueuedCommand[] = [];
  const underway = new Set<Promise<void>>();
  let draining = false;
  let closed = false;

  function enqueue(queued: QueuedCommand): void {
    if (closed) return queued.reject(new HoldfastError("closed", "the kernel is closed"));
    queue.push(queued);
    if (draining) return;
    draining = true;
    // The drain starts a microtask later, so that calls of one burst share the first transaction too.
    track(Promise.resolve().then(drain));
  }

  async function drain(): Promise<void> {
    try {
      while (queue.length > 0) await runGroup(nextGroup());
    } finally {
      draining = false;
    }
  }

  function nextGroup(): QueuedCommand[] {
    let characters = 0;
    let count = 0;
    for (const queued of queue) {
      characters += queued.size;
      if (count > 0 && (count === MOST_GROUP_COMMANDS || characters > MOST_GROUP_CHARACTERS)) break;
      count++;
    }
    return queue.splice(0, count);
  }

  /** Groups that a failed transaction leaves to be tried again run next, in a loop: recursion would grow the stack. */
  async function runGroup(group: QueuedCommand[]): Promise<void> {
    const next = [group];
    for (let tried = next.shift(); tried; tried = next.shift()) next.unshift(...(await attempt(tried)));
  }

  /** Runs one transaction. Resolves with the groups that must be tried again. */
  async function attempt(group: QueuedCommand[]): Promise<QueuedCommand[][]> {
    let decisions: Decision<unknown>[];
    try {
      const scope = [...new Set(group.flatMap(({ command }) => command.tables))];
      const relaxed = group.every(({ command }) => command.durability === "relaxed");
      decisions = await storage.transact(scope, "write", (tx) => decideAll(tx, group), relaxed ? "relaxed" : undefined);
    } catch (failure) {
      return afterFailure(group, asHoldfastError(failure, "write-failed", "the transaction failed"));
    }
    // Replies before the notice: callers continue in a later microtask, and the notice is out by then.
    for (const [at, queued] of group.entries()) settle(queued, decisions[at] as Decision<unknown>, group.length > 1);
    notices.publish(mergedChanges(decisions));
    return [];
  }

  async function decideAll(tx: Transaction, group: QueuedCommand[]): Promise<Decision<unknown>[]> {
    const rows = new RowCache(tx, tables);
    if (group.length > 1) await Promise.allSettled(group.map(({ command, input }) => command.load(rows, input)));
    const decisions: Decision<unknown>[] = [];
    let nowMs: number | undefined;
    for (const { command, input } of group) {
      let decision: Decision<unknown>;
      try {
        const state = await command.load(rows, input);
        // The clock is read only now: a transaction may have waited long, and expiry is judged at the moment of the write.
        nowMs ??= clock.now();
        decision = command.decide(state, input, nowMs);
        if (decision.kind === "accept") rows.stage(decision.writes);
      } catch (thrown) {
        decision = refuse(asHoldfastError(thrown, "internal", "a command failed"));
      }
      if (rows.failure !== undefined) throw rows.failure;
      decisions.push(decision);
    }
    rows.flush();
    return decisions;
  }

  function settle(queued: QueuedCommand, decision: Decision<unknown>, shared: boolean): void {
    if (decision.kind === "refuse") return queued.reject(decision.error);
    // Commands of one group may have read the same row. Each caller gets a copy of its own.
    if (decision.kind === "accept") return queued.resolve(shared ? copyOf(decision.reply) : decision.reply);
    if (++queued.preparations > MOST_PREPARATIONS)
      return queued.reject(new HoldfastError("internal", "a command is never prepared"));
    track(decision.prepare().then(() => enqueue(queued), queued.reject));
  }

  /** Nothing was written, or the outcome is unknown. A command must not fail with its group for what another command did. */
  function afterFailure(group: QueuedCommand[], failure: HoldfastError): QueuedCommand[][] {
    const unknown = detail(failure, "outcome") === "unknown";
    const again = unknown
      ? group.filter(({ command, input }) => command.repeatable?.(input))
      : detail(failure, "reason") === "frozen" || (group.length > 1 && isAbort(failure))
        ? group
        : [];
    for (const queued of group) if (!again.includes(queued)) queued.reject(failure);
    return again.map((queued) => [unknown ? onceMore(queued) : queued]);
  }

  /** A second unknown outcome rejects the call: repeating without end would hide it. */
  function onceMore(queued: QueuedCommand): QueuedCommand {
    return { ...queued, command: { ...queued.command, repeatable: () => false } };
  }

  function track(work: Promise<void>): void {
    underway.add(work);
    void work.finally(() => underway.delete(work));
  }

  return {
    run<Input, State, Reply>(command: Command<Input, State, Reply>, input: Input, options: RunOptions = {}): Promise<Reply> {
      return new Promise<Reply>((resolve, reject) => {
        const queued: QueuedCommand = {
          command: command as unknown as Command<unknown, unknown, unknown>,
          input,
          size: options.size ?? 0,
          preparations: 0,
          resolve: resolve as (reply: unknown) => void,
          reject,
        };
        if (options.atOnce && !closed) track(runGroup([queued]));
        else enqueue(queued);
      });
    },
    async query(scope, read) {
      if (closed) throw new HoldfastError("closed", "the kernel is closed");
      try {
        return await storage.transact(scope, "read", (tx) => read(tx, () => clock.now()));
      } catch (thrown) {
        // A row may be broken in a place that no check looked at.
        throw asHoldfastError(thrown, "read-failed", "what is stored could not be read");
      }
    },
    async close() {
      closed = true;
      await Promise.allSettled(underway);
      await storage.close();
    },
  };
}

function mergedChanges(decisions: readonly Decision<unknown>[]): Change[] {
  const changes = new Map<string, Change>();
  for (const decision of decisions) {
    if (decision.kind !== "accept") continue;
    for (const change of decision.changes) changes.set(JSON.stringify([change.about, change.id, change.member]), change);
  }
  return [...changes.values()];
}

function detail({ details }: HoldfastError, name: string): unknown {
  return (details as Record<string, unknown> | null | undefined)?.[name];
}

/** Whether one of the commands may be why the transaction was undone. A closed or missing storage fails each of them alone, too. */
function isAbort({ code }: HoldfastError): boolean {
  return code !== "closed" && code !== "version" && code !== "unavailable";
}
