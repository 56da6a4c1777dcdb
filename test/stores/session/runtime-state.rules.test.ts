import { describe, expect, it } from "vitest";
import { HoldfastError } from "../../../src/domain/errors.js";
import { RUNTIME_STATES, type RuntimeState } from "../../../src/domain/session/session.js";
import {
  acceptsInput,
  after,
  afterRun,
  mayRun,
  type RuntimeCommand,
  withoutAttached,
} from "../../../src/stores/session/runtime-state.rules.js";

/** The state after a command, by the state before it. Absent: the command is refused. */
const TABLE: Record<RuntimeCommand, Partial<Record<RuntimeState, RuntimeState>>> = {
  run: { initializing: "running", idle: "running", attached: "running", retired: "running" },
  retire: { initializing: "retired", idle: "retired", attached: "retired", running: "retired", retired: "retired" },
  reset: { initializing: "idle", idle: "idle", attached: "idle", retired: "idle" },
  shutdown: {
    initializing: "stopped",
    idle: "stopped",
    attached: "stopped",
    running: "stopped",
    retired: "stopped",
    stopped: "stopped",
  },
  destroy: {
    initializing: "destroyed",
    idle: "destroyed",
    attached: "destroyed",
    running: "destroyed",
    retired: "destroyed",
    stopped: "destroyed",
  },
  recycle: { initializing: "idle", idle: "idle", attached: "idle", retired: "idle" },
};

const CASES = (Object.keys(TABLE) as RuntimeCommand[]).flatMap((command) =>
  RUNTIME_STATES.map((state) => ({ command, state, next: TABLE[command][state] ?? "a refusal" })),
);

describe("a runtime's state", () => {
  it.each(CASES)("$command from $state gives $next (R-92, R-132, R-134, R-136, R-137)", ({ command, state, next }) => {
    const found = after(command, state);
    if (next !== "a refusal") return expect(found).toBe(next);
    expect(found).toBeInstanceOf(HoldfastError);
    expect(found).toMatchObject({
      code: "not-ready",
      message: expect.stringContaining(state),
      details: { state, action: command },
    });
  });

  it("takes inputs while idle, attached or running (R-70)", () => {
    expect(RUNTIME_STATES.filter(acceptsInput)).toEqual(["initializing", "idle", "attached", "running"]);
  });

  it("begins runs while idle, and drains while retired (R-92)", () => {
    expect(RUNTIME_STATES.filter(mayRun)).toEqual(["initializing", "idle", "retired"]);
  });

  it("goes back to what it was when a run ends, unless it was moved on meanwhile (R-92, R-138)", () => {
    expect(afterRun("running", "idle")).toBe("idle");
    expect(afterRun("running", "retired")).toBe("retired");
    for (const state of ["retired", "stopped", "destroyed"] as const) expect(afterRun(state, "idle")).toBe(state);
  });

  it("is never stored as attached (R-102)", () => {
    expect(RUNTIME_STATES.map(withoutAttached)).toEqual([
      "initializing",
      "idle",
      "idle",
      "running",
      "retired",
      "stopped",
      "destroyed",
    ]);
  });
});
