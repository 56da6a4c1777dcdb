import { manualClock } from "../../adapters/clock-manual.js";
import { type ErrorCode, isHoldfastError } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { ProcessAwaitOutput, ProcessRegistration } from "../../domain/process/process.js";
import type { ProcessScope } from "../../domain/scope.js";
import type { Kernel } from "../../kernel/kernel.js";
import type { KernelOptions } from "../../kernel/options.js";
import type { ProcessRegistry } from "../../kernel/process/registry.js";
import { createKernel } from "../../platform.js";
import type { KernelStorage } from "../../ports/storage.js";

/** What the suites need of a test runner; vitest, Jest and `node:test` with an `expect` have it. */
export interface Runner {
  describe(name: string, body: () => void): void;
  it(name: string, body: () => Promise<void> | void): void;
  expect: (value: unknown) => { toBe(expected: unknown): void; toEqual(expected: unknown): void };
}

/** A fresh, empty place. `reopen` is the same place as a later start of the program finds it; `dispose` leaves nothing behind. */
export type OpenFixture = () => Promise<{ storage: KernelStorage; reopen(): Promise<KernelStorage>; dispose(): Promise<void> }>;

/** What a case stands on: a place of its own, one kernel open on it, and a clock that stands still. */
export interface Ground {
  readonly storage: KernelStorage;
  readonly name: string;
  readonly clock: ReturnType<typeof manualClock>;
  readonly kernel: Kernel;
  /** Of `kernel`. */
  readonly processes: ProcessRegistry;
  /** One more kernel of the same name in the same place. */
  open(more?: Partial<KernelOptions>): Promise<Kernel>;
  /** Ends every kernel and opens the place as a later start of the program finds it. */
  reopen(): Promise<Kernel>;
  /** The same, for who wants its processes alone. */
  restart(): Promise<ProcessRegistry>;
}

export interface Cases {
  promise(name: string, body: (ground: Ground) => Promise<void>): void;
  /** Nothing that can be read is another after `work`. */
  changesNothing(processes: ProcessRegistry, work: () => Promise<void>): Promise<void>;
}

export function casesOn(open: OpenFixture, { it, expect }: Runner): Cases {
  return {
    promise(name, body) {
      it(name, async () => {
        const fixture = await open();
        const kernels: Kernel[] = [];
        try {
          const place = { name: uniqueName(), clock: manualClock() };
          const openOn = async (storage: KernelStorage, more: Partial<KernelOptions> = {}) => {
            const kernel = await createKernel({ ...place, storage, loop: "off", channel: false, locks: false, ...more });
            kernels.push(kernel);
            return kernel;
          };
          const kernel = await openOn(fixture.storage);
          const reopen = async () => {
            await closeAll(kernels.splice(0));
            return await openOn(await fixture.reopen());
          };
          await body({
            ...place,
            storage: fixture.storage,
            kernel,
            processes: kernel.processes,
            open: (more) => openOn(fixture.storage, more),
            reopen,
            restart: async () => (await reopen()).processes,
          });
        } finally {
          await closeAll(kernels).finally(() => fixture.dispose());
        }
      });
    },
    async changesNothing(processes, work) {
      const before = await readAll(processes);
      await work();
      expect(await readAll(processes)).toEqual(before);
    },
  };
}

async function closeAll(kernels: readonly Kernel[]): Promise<void> {
  await Promise.all(kernels.map((kernel) => kernel.close()));
}

let names = 0;

export function uniqueName(): string {
  return `kit-${++names}-${Math.random().toString(36).slice(2)}`;
}

/** The scopes that cases grant to; `readAll` looks at each. */
export const SCOPES = {
  root: { sessionId: "root" },
  one: { sessionId: "one" },
  frame: { sessionId: "one", agentFrameId: "f" },
  two: { sessionId: "two" },
} as const satisfies Record<string, ProcessScope>;

/** Everything that the public reads show. */
export async function readAll(processes: ProcessRegistry): Promise<unknown> {
  const records = await processes.list();
  const details = await Promise.all(
    records.map(async ({ id }) => ({
      record: await processes.getProcess(id),
      events: await processes.eventsAfter(id, 0),
      wakes: await processes.wakeEventsAfter(id, 0),
      grants: await processes.handleGrantsForProcess(id),
      lease: (await processes.getLease(id)) ?? "free",
    })),
  );
  const grants = await Promise.all(Object.values(SCOPES).map((scope) => processes.listHandleGrants(scope)));
  return { records, nonTerminal: await processes.listNonTerminal(), details, grants };
}

/** The error that a promise rejects with. */
export async function refusal(promise: Promise<unknown>): Promise<unknown> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`expected a refusal, got ${JSON.stringify(value)}`);
}

/** Fails unless the promise rejects with a HoldfastError of that code whose message has every fragment. */
export async function refused(promise: Promise<unknown>, code: ErrorCode, ...fragments: string[]): Promise<void> {
  const wrong = await mismatch(promise, code, ...fragments);
  if (wrong !== undefined) throw new Error(wrong);
}

/** Why `refused` would fail, if it would. */
export async function mismatch(promise: Promise<unknown>, code: ErrorCode, ...fragments: string[]): Promise<string | undefined> {
  const wanted = `expected ${code} with ${JSON.stringify(fragments)}`;
  try {
    await promise;
  } catch (error) {
    if (!isHoldfastError(error)) return `${wanted}, got ${String(error)}`;
    const fits = error.code === code && fragments.every((fragment) => error.message.includes(fragment));
    return fits ? undefined : `${wanted}, got ${error.code}: ${error.message}`;
  }
  return `${wanted}, but nothing was refused`;
}

export function task(id: string, more: Partial<ProcessRegistration> = {}): ProcessRegistration {
  return { id, input: { type: "task", name: "work" }, ...more };
}

export function success(value: JsonValue): ProcessAwaitOutput {
  return { type: "success", value };
}

export function failure(message: string): ProcessAwaitOutput {
  return { type: "failure", class: "execution", code: "broken", message };
}

export function cancelled(message: string): ProcessAwaitOutput {
  return { type: "cancelled", message };
}

/** What each of the calls came to: its value, or the code of its refusal. */
export async function outcomes<T>(calls: readonly Promise<T>[]): Promise<{ values: T[]; codes: unknown[] }> {
  const settled = await Promise.allSettled(calls);
  return {
    values: settled.flatMap((result) => (result.status === "fulfilled" ? [result.value] : [])),
    codes: settled.flatMap((result) => (result.status === "rejected" ? [(result.reason as { code?: unknown }).code] : [])),
  };
}

/** Numbers from 1 to `count`. */
export function count(count: number): number[] {
  return Array.from({ length: count }, (_, at) => at + 1);
}
