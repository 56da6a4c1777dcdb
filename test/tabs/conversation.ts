// A session in tabs under test: its inputs and messages, its executor, and its stored rows.
import { expect } from "vitest";
import type { TurnArgs } from "./fixture/app.js";
import { eventually, facts, newTab, type Tab } from "./harness.js";

export const SESSION = "s";
const RUNTIME = `rt:session:${SESSION}`;

export const attend = (tab: Tab, turns?: TurnArgs) => tab.call((fixture, id, args) => fixture.attend(id, args), SESSION, turns);
export const say = (tab: Tab, inputId: string) =>
  tab.call((fixture, id) => fixture.session.submit({ inputType: "prompt", text: `say ${id}`, inputId: id }), inputId);
export const messages = (tab: Tab) =>
  tab.call(async (fixture) => (await fixture.session.messages()).map(({ content }) => String(content)));
export const turns = () => facts("turn").map(({ tab, attempt, inputs }) => `${tab}${attempt} ${inputs}`);
export const atGate = (tab: Tab, times = 1) =>
  eventually(() => facts("part").filter((fact) => fact.tab === tab.name).length).toBe(times);
export const answered = (tab: Tab, inputId: string) =>
  eventually(() =>
    tab.call(async ({ kernel }, id) => (await kernel.runtime.loadInputState("rt:session:s", id))?.currentState, inputId),
  ).toBe("consumed");

export interface Stored {
  runtime: { state: string; messageCount: number; run?: object };
  inputs: { inputId: string; record: { currentState: string; attemptCount: number; recoveryCount: number } }[];
  messages: { position: number; message: { role: string; content: string; inputId?: string } }[];
  receipts: { receipt: { contributingInputIds: string[]; messageCount: number } }[];
  lease: { leaseToken?: string; fencingToken: number } | undefined;
}

/** The rows of the session, read in a tab that has no kernel. */
export async function readStored(name: string): Promise<Stored> {
  const reader = await newTab("auditor");
  const stored = await reader.call(
    async (_, databaseName, runtimeId) => {
      const result = <T>(request: IDBRequest<T>) =>
        new Promise<T>((resolve, reject) => {
          request.onsuccess = () => resolve(request.result);
          request.onerror = () => reject(request.error);
        });
      const database = await result(indexedDB.open(databaseName));
      const transaction = database.transaction(["runtimes", "inputs", "messages", "receipts", "leases"]);
      const all = (table: string) =>
        result(transaction.objectStore(table).getAll(IDBKeyRange.bound([runtimeId], [runtimeId, []])));
      const one = (table: string) => result(transaction.objectStore(table).get(runtimeId));
      const [runtime, inputs, messages, receipts, lease] = await Promise.all([
        one("runtimes"),
        all("inputs"),
        all("messages"),
        all("receipts"),
        one("leases"),
      ]);
      database.close();
      return { runtime, inputs, messages, receipts, lease };
    },
    name,
    RUNTIME,
  );
  await reader.close();
  return stored as Stored;
}

/** The promises for any end of executors: each input run once to its end, nothing doubled, nothing lost, no lease left held. */
export async function expectSound(name: string, inputIds: readonly string[], parts: number): Promise<Stored> {
  await eventually(async () => (await readStored(name)).lease?.leaseToken).toBeUndefined();
  const stored = await readStored(name);
  expect(stored.runtime).toMatchObject({ state: "idle", messageCount: stored.messages.length });
  expect(stored.runtime.run).toBeUndefined();
  expect(stored.inputs.map(({ inputId, record }) => `${inputId} ${record.currentState}`)).toEqual(
    [...inputIds].sort().map((inputId) => `${inputId} consumed`),
  );
  expect(stored.receipts.flatMap(({ receipt }) => receipt.contributingInputIds).sort()).toEqual([...inputIds].sort());
  expect(stored.messages.map(({ position }) => position)).toEqual(stored.messages.map((_, at) => at));
  const said = stored.messages.map(({ message }) => message.content);
  const order = stored.messages.flatMap(({ message }) => message.inputId ?? []);
  expect(said).toEqual(order.flatMap((id) => [`say ${id}`, ...Array.from({ length: parts }, (_, part) => `part ${part}`)]));
  return stored;
}
