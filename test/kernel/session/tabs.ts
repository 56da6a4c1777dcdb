import type { StoredInputState } from "../../../src/domain/session/input.js";
import type { SessionRuntime, TurnHandler } from "../../../src/index.js";
import type { KernelOptions } from "../../../src/kernel/options.js";
import type { SessionEvent } from "../../../src/kernel/session/events.js";
import type { LeaseRow } from "../../../src/stores/host/tables.js";
import type { InputRow } from "../../../src/stores/session/inputs/tables.js";
import type { RuntimeRow } from "../../../src/stores/session/tables.js";
import type { Town, TownHost } from "../../loop/town.js";

export const RUNTIME_ID = "rt:session:s";

/** A host that has the session "s" open, and the events and faults that it emitted. */
export interface Tab extends TownHost {
  readonly session: SessionRuntime;
  readonly told: SessionEvent[];
}

export async function openTab(
  town: Town,
  name: string,
  handler?: TurnHandler,
  options: Partial<KernelOptions> = {},
): Promise<Tab> {
  const host = await town.host(name, options);
  const told: SessionEvent[] = [];
  host.kernel.on("session", (event) => told.push(event));
  const session = await host.kernel.session("s");
  if (handler) session.onTurn(handler);
  return Object.assign(host, { session, told });
}

export const prompt = (inputId: string, more: object = {}) => ({ inputType: "prompt" as const, text: inputId, inputId, ...more });
export const event = (inputId: string, more: object = {}) => ({
  inputType: "external_event" as const,
  text: inputId,
  inputId,
  ...more,
});

/** Waits for another input to begin a run. */
export const progress = (inputId: string, more: object = {}) => ({
  inputType: "peer" as const,
  convention: { conventionType: "response_progress" },
  inputId,
  ...more,
});

export const saying = (content: string) => ({ role: "assistant" as const, content });

/** What is stored, read without a kernel. */
export function rowsOf(town: Town) {
  const inputs = async () => (await town.rows("inputs")) as unknown as InputRow[];
  const record = async (inputId: string): Promise<StoredInputState> => {
    const row = (await inputs()).find((each) => each.inputId === inputId);
    if (!row) throw new Error(`no input "${inputId}" is stored`);
    return row.record;
  };
  return {
    inputs,
    record,
    phase: async (inputId: string) => (await record(inputId)).currentState,
    counts: async (inputId: string) => {
      const { attemptCount, recoveryCount } = await record(inputId);
      return { attemptCount, recoveryCount };
    },
    runtime: async () => (await town.rows("runtimes"))[0] as unknown as RuntimeRow,
    lease: async () =>
      (await town.rows("leases")).find(({ resource }) => resource === RUNTIME_ID) as unknown as LeaseRow | undefined,
    said: async () => (await town.rows("messages")).map(({ message }) => (message as { content: unknown }).content),
    receipts: async () => (await town.rows("receipts")).map(({ receipt }) => receipt as { contributingInputIds: string[] }),
  };
}
