import type { ProcessEventType } from "../../domain/process/event-type.js";
import type { ProcessScope } from "../../domain/scope.js";
import type { Ledger } from "../judge/ledger.js";
import { told, type Work } from "./work.js";

/** What processes of the simulation declare. */
export const EVENT_TYPES: readonly ProcessEventType[] = [
  { name: "note" },
  { name: "call", semantics: { wake: { input: "payload" } } },
];

const CALLED: ProcessScope = { sessionId: "called" };
/** No process has it: what names it is refused. */
const NOT_THERE = "not there";

type AppendRequest = Parameters<Parameters<Work["work"]>[0]["kernel"]["processes"]["appendEvent"]>[1];

export const PROCESS_WORK = {
  /** Appends that go together in one group, the ones that are refused among those that are not; then the wakes are acknowledged. */
  burst: {
    weight: 8,
    work({ kernel, ledger }, { processes }, dice, number) {
      const id = processes.length > 0 ? dice.pick(processes) : "p";
      const kinds = Array.from({ length: dice.between(2, 6) }, () =>
        dice.pick(["once", "call", "unheard", "undeclared"] as const),
      );
      const acknowledges = dice.chance(0.7);
      const append = async (kind: (typeof kinds)[number], at: number) => {
        const isRefused = kind === "unheard" || kind === "undeclared";
        const payload = `${isRefused ? "refused" : "once"}:${number}.${at}`;
        const eventType = kind === "once" ? "note" : kind === "undeclared" ? "unknown" : "call";
        const request: AppendRequest = { eventType, payload, ...(kind === "call" && { wakeTarget: CALLED }) };
        const call = `append ${payload} to ${id}`;
        await told(
          ledger,
          call,
          async () => {
            const { event } = await kernel.processes.appendEvent(id, request);
            if (!isRefused) ledger.appendedOnce(id, payload, event.sequence);
          },
          isRefused ? ["not-found", "invalid"] : ["not-found"],
        );
      };
      const burst = async () => {
        await Promise.all(kinds.map(append));
        if (acknowledges) await acknowledge(kernel, ledger, id);
      };
      return { told: `appends ${kinds.join(", ")} to ${id} at once`, done: told(ledger, `burst of ${id}`, burst, ["not-found"]) };
    },
  },
  /** Grants a parcel of processes to one scope, hands them over to another, and revokes one. The parcel's name says what is in it. */
  entrust: {
    weight: 4,
    work({ kernel, ledger }, { processes }, dice, number) {
      const ids = [...new Set(Array.from({ length: dice.between(1, 3) }, () => dice.pick([...processes, "p"])))];
      const isRefused = dice.chance(0.4);
      const [from, to] = [{ sessionId: `from ${number}` }, { sessionId: `to ${number}` }];
      const descriptor = { kind: isRefused ? "kept" : "parcel", label: `${number}` };
      const entrust = async () => {
        for (const id of ids) await kernel.processes.grantHandle(from, id, descriptor);
        const call = `hand over ${ids.join(", ")}`;
        const handOver = () => kernel.processes.transferHandleGrants(from, to, isRefused ? [...ids, NOT_THERE] : ids);
        await told(ledger, call, handOver, isRefused ? ["not-found"] : []);
        const [first] = ids;
        if (first === undefined) return;
        const loan = { sessionId: `loan ${number}` };
        await kernel.processes.grantHandle(loan, first, { kind: "loan" });
        await kernel.processes.revokeHandle(loan, first);
        ledger.revoked(loan, first);
      };
      return {
        told: `grants ${ids.join(", ")} and hands them over${isRefused ? " with one that is not there" : ""}`,
        done: told(ledger, `entrust ${ids.join(", ")}`, entrust, ["not-found"]),
      };
    },
  },
} satisfies Record<string, Work>;

async function acknowledge(kernel: Parameters<Work["work"]>[0]["kernel"], ledger: Ledger, id: string): Promise<void> {
  const heard = ledger.askedForWakes(id);
  const wakes = await kernel.processes.wakeEventsAfter(id, 0);
  heard(wakes.map(({ sequence }) => sequence));
  for (const { sequence } of wakes) {
    await kernel.processes.ackWake(id, sequence);
    ledger.acknowledged(id, sequence);
  }
}
