import { describe, expect, it } from "vitest";
import { isHoldfastError } from "../../src/domain/errors.js";
import {
  ARCHIVE_METHODS,
  AUTH_METHODS,
  CONTEXT_METHODS,
  HANDLE_METHODS,
  KERNEL_METHODS,
  LIFECYCLE_METHODS,
  type Method,
  OPENING,
  OPS_METHODS,
  PROCESS_METHODS,
  RUNTIME_METHODS,
  SESSION_METHODS,
  TURN_METHODS,
} from "./methods.js";
import { buildBusyWorld, buildWorld } from "./world.js";

const GROUPS: Record<string, Record<string, Method>> = {
  Kernel: KERNEL_METHODS,
  ProcessHandle: HANDLE_METHODS,
  ProcessRegistry: PROCESS_METHODS,
  RuntimeStore: RUNTIME_METHODS,
  LifecycleStore: LIFECYCLE_METHODS,
  SessionRuntime: SESSION_METHODS,
  OpsRegistry: OPS_METHODS,
  OAuthFlows: AUTH_METHODS,
  sessions: ARCHIVE_METHODS,
  ProcessContext: CONTEXT_METHODS,
  Turn: TURN_METHODS,
  "the package": OPENING,
};

/** Members that hold values or names of the app's own, or a record that a newer holdfast may have written. */
const OPEN_MEMBERS =
  /\.(args|payload|metadata|payloadSchema|const|fields|causedBy|lease|raw|control|source|convention|blocks|handlers)\b/;

/** Whole arguments of that kind, by method and place. */
const OPEN_ARGUMENTS: Record<string, RegExp> = {
  renewProcessLease: /^0/,
  completeProcessLease: /^0/,
  atomicApply: /^[23]/,
  persistInputState: /^1/,
  commitMachineLifecycle: /^2/,
  persistOpsLifecycle: /^1/,
  submit: /^0$/,
  peerReady: /^1/,
  complete: /^1/,
  emit: /^1/,
  append: /^0/,
  startDefined: /^(0\.(input|events|signals)|1\.input)/,
  startNamed: /^1\.input/,
  createKernel: /^0\.processes\.\d+\.(input|events|signals)/,
};

/** The public name of a method that stands here more than once. */
const PUBLIC_NAME: Record<string, string> = { startDefined: "start", startNamed: "start" };

const isOpen = (method: string, path: string) => OPEN_MEMBERS.test(path) || OPEN_ARGUMENTS[method]?.test(path) === true;

/** The plain objects among the arguments, by their path. */
function objectsIn(value: unknown, path: string): [path: string, object: Record<string, unknown>][] {
  if (typeof value !== "object" || value === null) return [];
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== Array.prototype) return [];
  const below = Object.entries(value).flatMap(([name, member]) => objectsIn(member, path === "" ? name : `${path}.${name}`));
  return Array.isArray(value) ? below : [[path, value as Record<string, unknown>], ...below];
}

const places = Object.entries(GROUPS).flatMap(([group, methods]) => Object.keys(methods).map((name) => [group, name] as const));
const isBusy = (group: string) => group === "ProcessContext" || group === "Turn";

describe("a member that nothing knows (A-5)", () => {
  it.each(places)("%s.%s refuses it by its name, in every object of its options and requests", async (group, name) => {
    const method = GROUPS[group]?.[name] as Method;
    const wrong: string[] = [];
    let count = 1;
    for (let at = 0; at < count; at++) {
      const world = isBusy(group) ? await buildBusyWorld() : await buildWorld();
      const args = method.good(world);
      const found = objectsIn(args, "");
      count = found.length;
      const [path, object] = found[at] ?? [];
      if (path !== undefined && object && !isOpen(name, path)) {
        object.zzz = 1;
        const refused = await refusalOf(() => method.call(world, args));
        const says = new RegExp(`\\bzzz is (no option of ${PUBLIC_NAME[name] ?? name}|not known); known are `);
        if (!isHoldfastError(refused) || refused.code !== "invalid" || !says.test(refused.message)) {
          wrong.push(`${path}: ${isHoldfastError(refused) ? refused.message : String(refused)}`);
        }
      }
      await world.kernel.close();
    }
    expect(wrong).toEqual([]);
  });
});

async function refusalOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
    return "nothing was refused";
  } catch (error) {
    return error;
  }
}
