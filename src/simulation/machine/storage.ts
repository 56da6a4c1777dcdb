import { memoryStorage } from "../../adapters/storage-memory.js";
import { HoldfastError } from "../../domain/errors.js";
import type { KernelStorage, OpenStorage, StorageOpening, Transaction, Write } from "../../ports/storage.js";
import type { FaultKind } from "../fault-kinds.js";
import type { Life, Machine, Trap } from "./machine.js";
import { ObservedRows, type RowChange } from "./rows.js";

/** What one transaction stored. */
export interface Commit {
  readonly life: Life;
  readonly changes: readonly RowChange[];
  /** The wall clock at its begin and at its end, the smaller one first. */
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** The one storage that all hosts share, and the rows in it as the observer sees them. */
interface SharedStorage {
  readonly rows: ObservedRows;
  /** How often the database was wiped. */
  readonly generation: number;
  /** The storage as a life reaches it: with delays and all faults on the way. */
  placeFor(life: Life): KernelStorage;
  /** Deletes the database under all hosts. */
  wipe(): void;
}

interface SharedStorageParts {
  readonly machine: Machine;
  onCommit(commit: Commit): void;
  happened(kind: FaultKind, life: Life): void;
  /** Wraps the storage of every host: how tests make a storage that breaks its promises. */
  readonly sabotage: ((storage: KernelStorage, host: string) => KernelStorage) | undefined;
}

/** The answer that a life never gets. */
const never = <T>() => new Promise<T>(() => {});

export function createSharedStorage(parts: SharedStorageParts): SharedStorage {
  const { machine, sabotage } = parts;
  const rows = new ObservedRows();
  let place = memoryStorage();
  let generation = 0;
  const endings = new Set<() => void>();

  function watched(life: Life): KernelStorage {
    return {
      kind: "simulated",
      keepsKeys: true,
      async open(opening) {
        const bornIn = generation;
        const storage = await place.open(opening);
        return {
          ...storage,
          durability: opening.durability,
          transact: (tables, mode, body) =>
            storage.transact(tables, mode, async (tx) => {
              const writes: Write[] = [];
              const beganMs = machine.wallMs();
              const result = await body({
                get: tx.get.bind(tx),
                range: tx.range.bind(tx),
                write(given) {
                  tx.write(given);
                  writes.push(...given);
                },
              });
              // This is the commit: nothing can go wrong after it.
              if (writes.length > 0 && bornIn === generation) {
                const endedMs = machine.wallMs();
                parts.onCommit({
                  life,
                  changes: rows.apply(writes),
                  sinceMs: Math.min(beganMs, endedMs),
                  untilMs: Math.max(beganMs, endedMs),
                });
              }
              return result;
            }),
        };
      },
    };
  }

  return {
    rows,
    get generation() {
      return generation;
    },
    placeFor(life) {
      const inner = watched(life);
      const reached = sabotage ? sabotage(inner, life.host) : inner;
      return {
        kind: "simulated",
        keepsKeys: true,
        async open(opening) {
          await delay(life);
          const storage = await reached.open(opening);
          let ended: HoldfastError | undefined;
          const end = () => {
            endings.delete(end);
            life.deliver(() => {
              ended = new HoldfastError("unavailable", "the database was deleted");
              opening.onState("lost", ended);
            });
          };
          endings.add(end);
          return shaky(storage, opening, { ...parts, life, ended: () => ended });
        },
      };
    },
    wipe() {
      generation++;
      place = memoryStorage();
      rows.clear();
      for (const end of [...endings]) end();
    },
  };
}

/** Half of the requests take no time at all, so that two things happen in one millisecond, too. */
const QUICK_MS = [0, 0, 0, 1, 2, 3];

async function delay(life: Life): Promise<void> {
  if (life.state === "gone") return await never();
  await life.pause(life.slowness > 1 ? life.dice.below(100 * life.slowness) : life.dice.pick(QUICK_MS));
}

interface ShakyParts extends Pick<SharedStorageParts, "happened"> {
  readonly life: Life;
  ended(): HoldfastError | undefined;
}

/** A storage whose transactions may end, freeze or fail at each of their awaits. */
function shaky(storage: OpenStorage, opening: StorageOpening, parts: ShakyParts): OpenStorage {
  const { life, happened } = parts;
  return {
    databaseId: storage.databaseId,
    durability: opening.durability,
    close: () => storage.close(),
    async transact<T>(tables: readonly string[], mode: "read" | "write", body: (tx: Transaction) => Promise<T>): Promise<T> {
      for (;;) {
        await delay(life);
        const ended = parts.ended();
        if (ended) throw ended;
        const attempt = new ShakyAttempt(life, mode, happened);
        try {
          const result = await storage.transact(tables, mode, (tx) => attempt.run(tx, body));
          attempt.committed();
          await delay(life);
          if (attempt.isUnheard) throw unknownOutcome();
          return result;
        } catch (failure) {
          if (attempt.isUnheard && failure instanceof HoldfastError && isUnknown(failure)) throw failure;
          await delay(life);
          // A connection that was lost before a commit was asked for is opened again, and so is a read that a freeze cut off.
          if (attempt.undone === "cut" || (attempt.undone === "frozen" && mode === "read")) continue;
          if (attempt.undone === "frozen")
            throw new HoldfastError("write-failed", "the page was frozen", { details: { reason: "frozen" } });
          throw failure;
        } finally {
          attempt.close();
        }
      }
    },
  };
}

const unknownOutcome = () =>
  new HoldfastError("unavailable", "the connection was lost during a commit", { details: { outcome: "unknown" } });

const isUnknown = ({ details }: HoldfastError) =>
  typeof details === "object" && details !== null && "outcome" in details && details.outcome === "unknown";

class ShakyAttempt {
  /** Why nothing of it was stored, if a fault of the world was the reason. */
  undone: "frozen" | "gone" | "cut" | undefined;
  /** The attempt is stored, or not, and its caller will not be told. */
  isUnheard = false;
  readonly #life: Life;
  readonly #mode: "read" | "write";
  readonly #happened: SharedStorageParts["happened"];
  readonly #unhear: () => void;
  #isOver = false;
  #undo: (why: Error) => void = () => {};

  constructor(life: Life, mode: "read" | "write", happened: SharedStorageParts["happened"]) {
    this.#life = life;
    this.#mode = mode;
    this.#happened = happened;
    this.#unhear = life.onInterrupted((how) => {
      if (this.#isOver) return;
      this.undone = how;
      this.#undo(new Error(`the host is ${how}`));
    });
  }

  async run<T>(tx: Transaction, body: (tx: Transaction) => Promise<T>): Promise<T> {
    const undone = new Promise<never>((_, reject) => {
      this.#undo = (why) => {
        this.#isOver = true;
        reject(why);
      };
    });
    undone.catch(() => undefined);
    if (this.#life.state !== "up") {
      // The attempt waited in line while its host went.
      this.undone = this.#life.state;
      throw new Error(`the host is ${this.#life.state}`);
    }
    return await Promise.race([undone, this.#runBody(tx, body)]);
  }

  async #runBody<T>(tx: Transaction, body: (tx: Transaction) => Promise<T>): Promise<T> {
    const written = new Set<string>();
    let puts = 0;
    await this.#pass();
    const isCut = this.#take("cut") !== undefined;
    // The connection is lost at the begin, or when all is done but the commit.
    if (isCut && this.#life.dice.chance(0.5)) this.#cut();
    const result = await body({
      get: (table, key) => this.#asked(() => tx.get(table, key)),
      range: (table, query) => this.#asked(() => tx.range(table, query)),
      write: (writes) => {
        if (this.#isOver) return;
        for (const { table } of writes) written.add(table);
        puts += writes.filter((write) => "put" in write).length;
        tx.write(writes);
      },
    });
    await this.#pass();
    if (isCut) this.#cut();
    if (puts > 0 && this.#life.isFull) {
      this.#happened("quota", this.#life);
      throw new HoldfastError("quota-exceeded", "no space is left");
    }
    if (written.size > 0) this.#loseAnswer(written);
    this.#isOver = true;
    return result;
  }

  #cut(): never {
    this.#happened("cut", this.#life);
    this.undone = "cut";
    throw new Error("the connection is lost");
  }

  /** The connection goes down while the commit is under way: it is stored as often as not. */
  #loseAnswer(written: ReadonlySet<string>): void {
    if (!this.#take("unheard", written)) return;
    this.#happened("unheard", this.#life);
    this.isUnheard = true;
    if (this.#life.dice.chance(0.5)) throw unknownOutcome();
  }

  /** Called after the commit: the host may crash in this very moment, and never hear of it. */
  committed(): void {
    this.#isOver = true;
    this.#strike("crash");
  }

  close(): void {
    this.#isOver = true;
    this.#unhear();
  }

  async #asked<T>(ask: () => Promise<T>): Promise<T> {
    await this.#pass();
    const answer = await ask();
    return answer;
  }

  /** One await of the storage. */
  async #pass(): Promise<void> {
    if (this.#isOver) return await never();
    if (this.#strike("crash")) return await never();
    const aborted = this.#take("aborted");
    if (aborted) {
      this.#happened("aborted", this.#life);
      throw new HoldfastError(this.#mode === "read" ? "read-failed" : "write-failed", "the browser aborted the transaction");
    }
    if (this.#life.slowness > 1) await this.#life.pause(this.#life.dice.below(20 * this.#life.slowness));
    if (this.#isOver) return await never();
  }

  #strike(kind: "crash"): boolean {
    const trap = this.#take(kind);
    trap?.spring();
    return trap !== undefined;
  }

  /** Counts the traps of one kind down by one. Returns the trap that is due. */
  #take(kind: Trap["kind"], written?: ReadonlySet<string>): Trap | undefined {
    const { traps } = this.#life;
    const counted = traps.filter((trap) => trap.kind === kind && (trap.table === undefined || written?.has(trap.table)));
    for (const trap of counted) trap.left--;
    const due = counted.find(({ left }) => left <= 0);
    if (due) traps.splice(traps.indexOf(due), 1);
    return due;
  }
}
