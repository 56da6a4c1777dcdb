import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { channelHub } from "../../src/conformance/kit/channel.fixture.js";
import { ERROR_CODES } from "../../src/domain/error-codes.js";
import { HoldfastError } from "../../src/domain/errors.js";
import { type Spoiling, spoil, spoiling } from "./hostile-values.js";
import {
  ARCHIVE_METHODS,
  AUTH_METHODS,
  CONTEXT_METHODS,
  HANDLE_METHODS,
  KERNEL_METHODS,
  LIFECYCLE_METHODS,
  LIVENESS_METHODS,
  type Method,
  OPENING,
  OPS_METHODS,
  PROCESS_METHODS,
  RUNTIME_METHODS,
  SCHEDULE_METHODS,
  SECRET_METHODS,
  SESSION_METHODS,
  TURN_METHODS,
} from "./methods.js";
import { buildBusyWorld, buildWorld, settled, type World } from "./world.js";

const SEED = 20_260_731;
const CALLS = 10;
const RUNS = 12;
const GROUPS: Record<string, Record<string, Method>> = {
  Kernel: KERNEL_METHODS,
  ProcessHandle: HANDLE_METHODS,
  ProcessRegistry: PROCESS_METHODS,
  RuntimeStore: RUNTIME_METHODS,
  LifecycleStore: LIFECYCLE_METHODS,
  LivenessStore: LIVENESS_METHODS,
  SessionRuntime: SESSION_METHODS,
  OpsRegistry: OPS_METHODS,
  OAuthFlows: AUTH_METHODS,
  secrets: SECRET_METHODS,
  schedules: SCHEDULE_METHODS,
  sessions: ARCHIVE_METHODS,
  ProcessContext: CONTEXT_METHODS,
  Turn: TURN_METHODS,
  "the package": OPENING,
};

const WAITING = Symbol("waiting");

function worldOf(methods: object): Promise<World> {
  if (methods === CONTEXT_METHODS || methods === TURN_METHODS) return buildBusyWorld();
  return buildWorld(methods === LIVENESS_METHODS ? { channel: channelHub() } : {});
}

/** The problems of one spoiled call's outcome. An answer is fine, too: many hostile values are good enough. */
async function tryOut(world: World, method: Method, spoilings: readonly Spoiling[]): Promise<string[]> {
  const args = spoil(method.good(world), spoilings);
  const from = world.probed.seen.length;
  const refusals: unknown[] = [];
  let answer: unknown;
  try {
    answer = method.call(world, args);
  } catch (thrown) {
    if (!method.isSync) return [`threw instead of rejecting: ${textOf(thrown)}`];
    refusals.push(thrown);
  }
  const answered = Promise.resolve(answer).catch((thrown: unknown) => void refusals.push(thrown));
  const waits = (await Promise.race([answered, settled(20).then(() => WAITING)])) === WAITING;
  // A call that waits for an event that never comes ends with the kernel.
  if (waits) await world.kernel.close();
  await answered;
  await settled();
  const stored = waits ? [] : world.probed.seen.slice(from).filter(({ committed, writes }) => committed && writes.length > 0);
  return refusals.flatMap((thrown) => {
    const problem = problemOf(thrown, method);
    if (stored.length > 0) return [`refused with ${textOf(thrown)}, and stored ${textOf(stored)}`];
    return problem === undefined ? [] : [problem];
  });
}

/** "internal" is no valid code for a caller's mistake. */
function problemOf(thrown: unknown, { passesOn }: Method): string | undefined {
  if (passesOn) return undefined;
  if (!(thrown instanceof HoldfastError)) return `refused with what is no HoldfastError: ${textOf(thrown)}`;
  const { code, message } = thrown;
  if (!Object.hasOwn(ERROR_CODES, code) || code === "internal")
    return `refused with the code ${textOf(code)}: ${textOf(message)}`;
  return typeof message === "string" ? undefined : "refused without a message";
}

function textOf(value: unknown): string {
  return fc.stringify(value).slice(0, 500);
}

const known = (names: object) => Object.getOwnPropertyNames(names).sort();
const PROTOTYPES = [Object.prototype, Array.prototype, Function.prototype, HoldfastError.prototype];

describe.each(Object.entries(GROUPS))("%s under hostile arguments", (_, methods) => {
  it.each(Object.keys(methods))("%s only ever refuses with an error of the table, and stores nothing then", async (name) => {
    const method = methods[name] as Method;
    const before = PROTOTYPES.map(known);
    const property = fc.asyncProperty(
      fc.array(fc.array(spoiling, { minLength: 1, maxLength: 2 }), { minLength: CALLS, maxLength: CALLS }),
      async (calls) => {
        let world = await worldOf(methods);
        const problems: string[] = [];
        for (const spoilings of calls) {
          if (world.isOver()) world = await worldOf(methods);
          problems.push(...(await tryOut(world, method, spoilings)));
          if (problems.length > 0) break;
        }
        await world.kernel.close();
        expect(problems).toEqual([]);
      },
    );
    await fc.assert(property, { seed: SEED, numRuns: RUNS });
    expect(PROTOTYPES.map(known)).toEqual(before);
  });
});
