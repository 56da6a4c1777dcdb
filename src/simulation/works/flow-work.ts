import { isHoldfastError } from "../../domain/errors.js";
import type { RetryPolicy } from "../../domain/retry.rules.js";
import type { Kernel } from "../../kernel/kernel.js";
import type { ProcessContext } from "../../kernel/process/context/context.js";
import { type Deed, FLOW_LIMITS, FLOW_TRIES, type FlowShape, SIGNAL_NAMES } from "../flows.js";
import type { Ledger } from "../judge/ledger.js";
import type { Dice } from "../machine/dice.js";
import type { Life } from "../machine/machine.js";
import type { Guest } from "../tab/guest.js";
import type { Handlers } from "../tab/host.js";
import { type Commons, runCall, type Work } from "./work.js";

type FlowHandler = "flow" | "narrow" | "lanes" | "hasty";

const FLOW_RETRY: RetryPolicy = { attempts: FLOW_TRIES, backoffMs: 500, maxBackoffMs: 4_000 };

export function flowHandlers(life: Life, ledger: Ledger, commons: Commons): Handlers {
  const run = (context: ProcessContext) => runFlow(context, life, ledger, commons);
  return {
    flow: { run, retry: FLOW_RETRY, suspendAfterMs: 2_000 },
    narrow: { run, retry: FLOW_RETRY, suspendAfterMs: 0, limit: { key: "narrow", ...FLOW_LIMITS.narrow } },
    lanes: {
      run,
      suspendAfterMs: Number.POSITIVE_INFINITY,
      limit: { key: (args) => `lane ${(args as FlowShape).lane}`, concurrency: 1 },
    },
    hasty: { run, retry: FLOW_RETRY, timeoutMs: 10_000 },
  };
}

async function runFlow(context: ProcessContext, life: Life, ledger: Ledger, commons: Commons): Promise<number> {
  const { id } = context.record;
  const { deeds, stumbles, startAtMs } = context.args as unknown as FlowShape;
  ledger.begins(id, startAtMs, commons.latestWallMs());
  const ranUnder = ledger.runs(id);
  const unlucky = () => !commons.isCalm && life.dice.chance(0.5);
  const unkeyed = new Map<string, number>();

  async function receive(name: string, options?: { key: string; timeoutMs: number }): Promise<void> {
    const count = (unkeyed.get(name) ?? 0) + 1;
    if (!options) unkeyed.set(name, count);
    const signal = options ? await context.waitForSignal(name, options) : await context.waitForSignal(name);
    ledger.stepped(id, options?.key ?? `:${count}:${name}`, signal === undefined ? null : { ...signal });
  }

  async function perform(deed: Deed, at: number): Promise<void> {
    if (deed.do === "sleep") {
      const key = `for:${deed.forMs}:${at}`;
      await context.sleep(key, deed.forMs);
      ledger.stepped(id, key, null);
    } else if (deed.do === "until") {
      const key = `until:${deed.atMs}:${at}`;
      await context.sleepUntil(key, deed.atMs);
      ledger.stepped(id, key, null);
    } else if (deed.do === "wait") {
      const { name, timeoutMs } = deed;
      await receive(name, timeoutMs === undefined ? undefined : { key: `${name}:${timeoutMs}:${at}`, timeoutMs });
    } else if (deed.do === "pair") {
      await Promise.all([receive(deed.name), receive(deed.name)]);
    } else {
      const key = `try:${at}`;
      const attempt = async ({ fencingToken }: { fencingToken: number }) => {
        ranUnder(fencingToken);
        ledger.tries(id, key, commons.latestWallMs());
        await life.pause(life.dice.below(300));
        if (unlucky()) throw new Error("the try was to fail");
        return `${life.name} under ${fencingToken}`;
      };
      ledger.stepped(id, key, await context.step(key, attempt, { retry: FLOW_RETRY }));
    }
  }

  for (const [at, deed] of deeds.entries()) await perform(deed, at);
  if (stumbles && unlucky()) throw new Error("the run was to fail");
  return deeds.length;
}

/** `mayHang`: it may wait for a signal without a timeout. */
export function drawFlow(dice: Dice, nowMs: number, mayHang = true): FlowShape {
  const deeds = Array.from({ length: dice.between(1, 4) }, (): Deed => {
    const kind = dice.pick(["sleep", "sleep", "until", "wait", "wait", "wait", "pair", "try", "try"] as const);
    const name = dice.pick(SIGNAL_NAMES);
    if (kind === "sleep") return { do: "sleep", forMs: dice.pick([0, 1, dice.below(1_000), dice.below(15_000)]) };
    if (kind === "until") return { do: "until", atMs: nowMs - 2_000 + dice.below(12_000) };
    if (kind === "try" || (kind === "pair" && !mayHang)) return { do: "try" };
    if (kind === "pair") return { do: "pair", name };
    if (mayHang && dice.chance(0.4)) return { do: "wait", name };
    return { do: "wait", name, timeoutMs: dice.pick([0, 1, dice.below(2_000), dice.below(12_000)]) };
  });
  const startAtMs = dice.chance(0.25) ? nowMs + dice.below(6_000) : 0;
  return { deeds, lane: dice.below(2), stumbles: dice.chance(0.3), startAtMs };
}

export const drawFlowHandler = (dice: Dice): FlowHandler => dice.pick(["flow", "flow", "narrow", "narrow", "lanes", "hasty"]);

export const FLOW_WORK = {
  /** A process that sleeps, waits for signals, and tries again. */
  flow: {
    weight: 14,
    work({ kernel, ledger, life }, { flows }, dice, number) {
      const id = `f${number}`;
      const name = drawFlowHandler(dice);
      const shape = drawFlow(dice, life.clock.now());
      const { startAtMs } = shape;
      flows.push(id);
      const done = async () => {
        const args = shape as unknown as Record<string, never>;
        const handle = await kernel.start({ id, input: { type: "task", name, args }, ...(startAtMs > 0 && { startAtMs }) });
        ledger.started(id);
        await ledger.ended(id, () => handle.outcome());
      };
      return { told: `starts ${name} ${id} ${JSON.stringify(shape)}`, done: runCall(ledger, `start ${id}`, done) };
    },
  },
  /** A signal, from one host or two, each of which sends it again where it does not know whether it is stored. */
  signal: {
    weight: 14,
    work(guest, commons, dice, number) {
      const { flows } = commons;
      const id = flows.length > 0 ? dice.pick(flows) : "f";
      // A few ids are used by many: each stands for one name and payload.
      const signalId = dice.chance(0.2) ? `k${dice.below(4)}` : `s${number}`;
      const name = SIGNAL_NAMES[Number(signalId.slice(1)) % SIGNAL_NAMES.length] as string;
      const other = dice.chance(0.3) ? commons.anyGuest(dice) : undefined;
      const chance = dice.fork("again");
      const call = `signal ${id} ${name} ${signalId}`;
      const senders = other ? [guest, other] : [guest];
      const send = async (sender: Guest) => {
        const again = () => commons.anyGuest(chance);
        await runCall(sender.ledger, call, () => sendSafely(sender, again, { id, name, signalId }), ["not-found", "terminal"]);
      };
      const done = async () => void (await Promise.all(senders.map(send)));
      return { told: `signals ${name} ${signalId} to ${id}`, done: done() };
    },
  },
  /** Runs a process again that failed or was cancelled, if there is one. */
  restart: {
    weight: 4,
    work({ kernel, ledger }, { flows }, dice) {
      const from = dice.chance(0.5) ? `try:${dice.below(4)}` : undefined;
      const first = dice.below(flows.length + 1);
      const ids = [...flows.slice(first), ...flows.slice(0, first), "f"];
      const restart = async () => {
        for (const id of ids) {
          const { state } = (await kernel.processes.getProcess(id))?.status ?? {};
          if (state === "failed" || state === "cancelled")
            return await kernel.process(id).restart(from === undefined ? {} : { from });
        }
      };
      return {
        told: `restarts a process${from === undefined ? "" : ` from ${from}`}`,
        done: runCall(ledger, "restart", restart, ["not-found", "conflict"]),
      };
    },
  },
} satisfies Record<string, Work>;

interface SignalSent {
  readonly id: string;
  readonly name: string;
  readonly signalId: string;
}

const MOST_SENDINGS = 3;

/** Sends it again under the same id as long as its outcome is unknown, each time from the host that is given. */
async function sendSafely(first: Guest, another: () => Guest | undefined, signal: SignalSent): Promise<void> {
  let sender = first;
  for (let left = MOST_SENDINGS; ; left--) {
    try {
      await sendSignalFrom(sender.kernel, signal);
      sender.ledger.signalled(signal.id, signal.name, signal.signalId);
      return;
    } catch (error) {
      const isUnknown = isHoldfastError(error) && (error.code === "unavailable" || error.code === "closed");
      const next = isUnknown && left > 1 ? another() : undefined;
      if (!next) throw error;
      sender = next;
    }
  }
}

function sendSignalFrom({ process, processes }: Kernel, { id, name, signalId }: SignalSent): Promise<void> {
  // Both ways are the same.
  return signalId.startsWith("k")
    ? processes.signal(id, name, signalId, { signalId })
    : process(id).signal(name, signalId, { signalId });
}

/** Sends what a wait that has no end of its own waits for. */
export async function sendAwaited({ kernel, ledger }: Guest, id: string, name: string, signalId: string): Promise<void> {
  const send = () => sendSignalFrom(kernel, { id, name, signalId });
  await runCall(ledger, `signal ${id} at last`, send, ["not-found", "terminal"]);
}
