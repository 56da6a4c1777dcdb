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

/** The part of a test runner that the suites need. vitest, Jest, and `node:test` with an `expect` have it. */
export interface Runner {
  /** Groups cases. */
  describe(name: string, body: () => void): void;
  /** Declares a case. */
  it(name: string, body: () => Promise<void> | void): void;
  /** Throws where the value is another than the expected one. */
  expect: (value: unknown) => {
    /** The same value, by `Object.is`. */
    toBe(expected: unknown): void;
    /** An equal value, member by member. */
    toEqual(expected: unknown): void;
  };
}

/** Opens a fresh, empty storage. */
export type OpenFixture = () => Promise<{
  storage: KernelStorage;
  /** The same data, as a later start of the program would open it. */
  reopen(): Promise<KernelStorage>;
  /** Deletes the data. */
  dispose(): Promise<void>;
}>;

/** A case's setup: its own storage, one open kernel on it, and a clock that stands still. */
export interface Setup {
  readonly storage: KernelStorage;
  readonly name: string;
  readonly clock: ReturnType<typeof manualClock>;
  readonly kernel: Kernel;
  /** The processes of `kernel`. */
  readonly processes: ProcessRegistry;
  /** Opens one more kernel of the same name on the same storage. */
  open(more?: Partial<KernelOptions>): Promise<Kernel>;
  /** Closes every kernel, and opens one on the reopened storage. */
  reopen(): Promise<Kernel>;
  /** Like `reopen`, but resolves with the kernel's processes. */
  restart(): Promise<ProcessRegistry>;
}

export interface Cases {
  promise(name: string, body: (setup: Setup) => Promise<void>): void;
  /** Fails when any read shows another value after `work`. */
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
            const kernel = await createKernel({
              ...place,
              storage,
              loop: "off",
              channel: false,
              locks: false,
              log: false,
              ...more,
            });
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

/** The scopes that cases grant to; `readAll` reads each. */
export const SCOPES = {
  root: { sessionId: "root" },
  one: { sessionId: "one" },
  frame: { sessionId: "one", agentFrameId: "f" },
  two: { sessionId: "two" },
} as const satisfies Record<string, ProcessScope>;

/** Every value that the public reads show. */
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
  const wrong = await refusalMismatch(promise, code, ...fragments);
  if (wrong !== undefined) throw new Error(wrong);
}

/** The message that `refused` would fail with, if it would. */
export async function refusalMismatch(
  promise: Promise<unknown>,
  code: ErrorCode,
  ...fragments: string[]
): Promise<string | undefined> {
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

/** The values of the calls that resolved, and the codes of those that were refused. */
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
