import { isHoldfastError } from "../../domain/errors.js";
import type { ProcessHandler } from "../../kernel/process/context/context.js";
import type { StartRequest } from "../../kernel/process/start-request.js";
import type { Turn } from "../../kernel/session/turn.js";
import type { InputSubmission } from "../../stores/session/inputs/submission.js";
import type { Ledger } from "../judge/ledger.js";
import type { Dice } from "../machine/dice.js";
import type { Life } from "../machine/machine.js";
import type { Guest } from "../tab/guest.js";
import type { Handlers } from "../tab/host.js";
import { FLOW_WORK, flowHandlers } from "./flow-work.js";
import { EVENT_TYPES, PROCESS_WORK } from "./process-work.js";
import { SCHEDULE_WORK } from "./schedule-work.js";
import { DOOMED, POISON, SESSION_OPTIONS, SESSION_WORK, submit } from "./session-work.js";
import { type Commons, runCall, SESSIONS, type Work } from "./work.js";

/**
 * The kinds of work that an app does with its kernel.
 * @useDeclaredType
 */
export type WorkKind =
  | "start"
  | "cancel"
  | "append"
  | "submit"
  | "withdraw"
  | "change"
  | "agent"
  | "dismiss"
  | "login"
  | "device"
  | keyof typeof PROCESS_WORK
  | keyof typeof SESSION_WORK
  | keyof typeof FLOW_WORK
  | keyof typeof SCHEDULE_WORK;

const AGENTS = ["a0", "a1", "a2"] as const;
const CLIENT = { realm: "dev", binding: "main" };
const FLOW = { target: CLIENT, provider: "id", redirectUri: "https://app/back" };
const DEVICE_FLOW = { target: CLIENT, provider: "id" };
const DEVICE_MS = 600_000;

/** What a process is to do, told in its input: every owner does the same. */
interface Shape {
  steps: number;
  pauseMs: number;
  children: number;
  notes: boolean;
  /** It appends an event without a key at each step. */
  tells: boolean;
  /** It stops when its signal aborts. */
  heeds: boolean;
  fails: boolean;
  [member: string]: number | boolean;
}

function drawShape(dice: Dice, depth: number): Shape {
  return {
    steps: dice.below(4),
    pauseMs: dice.pick([1, 50, 3_000, 9_000]),
    children: depth > 0 && dice.chance(0.4) ? dice.between(1, 3) : 0,
    notes: dice.chance(0.4),
    tells: dice.chance(0.3),
    heeds: dice.chance(0.7),
    fails: dice.chance(0.15),
  };
}

const requestOf = (shape: Shape): StartRequest => ({
  input: { type: "task", name: "work", args: shape },
  eventTypes: [...EVENT_TYPES],
});

function workHandler(life: Life, ledger: Ledger): ProcessHandler {
  let tellings = 0;
  return async (context) => {
    const { id, input } = context.record;
    const ranUnder = ledger.runs(id);
    const { steps, pauseMs, children, notes, tells, heeds, fails } = (input as unknown as { args: Shape }).args;
    for (let at = 0; at < steps; at++) {
      if (heeds && context.signal.aborted) throw context.signal.reason;
      const key = `s${at}`;
      const result = await context.step(key, async ({ fencingToken }) => {
        ranUnder(fencingToken);
        await life.pause(life.dice.below(pauseMs));
        return `${life.name} under ${fencingToken}`;
      });
      ledger.stepped(id, key, result);
      context.progress(at + 1, steps);
      if (tells) {
        const once = `once:${life.name} ${tellings++}`;
        ledger.appendedOnce(id, once, (await context.emit("note", once)).sequence);
      }
      if (notes) ledger.appended(id, `note:${at}`, (await context.emit("note", at, { replayKey: `note:${at}` })).sequence);
    }
    const shape: Shape = { steps: 1, pauseMs, children: 0, notes: false, tells: false, heeds, fails: false };
    const started = [];
    for (let at = 0; at < children; at++) started.push(await context.start(`c${at}`, requestOf(shape)));
    for (const child of started) await child.outcome();
    if (fails) throw new Error("it was to fail");
    return steps;
  };
}

/** What each host runs, by name. */
export function handlersOf(life: Life, ledger: Ledger, commons: Commons): Handlers {
  return { work: workHandler(life, ledger), ...flowHandlers(life, ledger, commons) };
}

/** Runs turns of a session. The dice of the life decide how a turn goes, so that a later attempt goes another way. */
function turnHandler({ life, ledger }: Guest, commons: Commons) {
  return async (turn: Turn): Promise<void> => {
    const { dice } = life;
    if (!commons.isCalm && turn.inputs.some(({ persistedInput }) => persistedInput?.text === POISON)) {
      commons.kill(life);
      return await new Promise(() => {});
    }
    if (turn.inputs.some(({ persistedInput }) => persistedInput?.text === DOOMED)) throw new Error("doomed");
    let name = "";
    const drawn = await turn.step("draw", ({ idempotencyKey }) => {
      name = idempotencyKey;
      return `${life.name} in ${turn.runId}`;
    });
    if (name !== "") ledger.turnStepped(name, drawn);
    const how = commons.isCalm ? 9 : dice.below(10);
    if (how === 0) throw new Error("no");
    if (how === 1) return await new Promise(() => {});
    if (how < 5) {
      turn.append({ role: "assistant", content: `${life.name} looks` });
      await turn.checkpoint();
    }
    if (how === 2) throw new Error("no");
    await life.pause(dice.below(how < 7 ? 6_000 : 50));
    turn.append({ role: "assistant", content: `end of ${turn.runId}` });
  };
}

/** Does what an app does first, after every boot. */
export async function startApp(guest: Guest, commons: Commons): Promise<void> {
  const { kernel, life, ledger } = guest;
  if (commons.isCalm) await register(guest, `a of ${life.host}`);
  for (const sessionId of SESSIONS) {
    try {
      const session = await kernel.session(sessionId, SESSION_OPTIONS);
      guest.sessions.set(sessionId, session);
      if (commons.isCalm || life.dice.chance(0.8)) session.onTurn(turnHandler(guest, commons));
    } catch (error) {
      ledger.failed(`kernel.session("${sessionId}")`, error);
      if (isHoldfastError(error) && (error.code === "closed" || life.state === "gone")) return;
      if (commons.isCalm) throw error;
    }
  }
}

export const WORK: Readonly<Record<WorkKind, Work>> = {
  start: {
    weight: 20,
    work({ kernel, ledger }, commons, dice, number) {
      const { processes } = commons;
      const isAgain = processes.length > 0 && dice.chance(0.15);
      const id = isAgain ? dice.pick(processes) : `p${number}`;
      if (!isAgain) processes.push(id);
      // Drawn from the id alone: the same process again.
      const shape = drawShape(commons.dice.fork(id), 1);
      const done = async () => {
        const handle = await kernel.start({ id, ...requestOf(shape) });
        ledger.started(id);
        const follow = async () => {
          let previous = 0;
          for await (const { sequence } of handle.events()) {
            ledger.followed(id, sequence, previous);
            previous = sequence;
          }
        };
        await Promise.all([ledger.ended(id, () => handle.outcome()), follow()]);
      };
      return { told: `starts ${id} ${JSON.stringify(shape)}`, done: runCall(ledger, `start ${id}`, done) };
    },
  },
  cancel: {
    weight: 4,
    work({ kernel, ledger }, { processes, flows }, dice) {
      const all = [...processes, ...flows];
      const id = all.length > 0 ? dice.pick(all) : "p";
      return { told: `cancels ${id}`, done: runCall(ledger, `cancel ${id}`, () => kernel.process(id).cancel(), ["not-found"]) };
    },
  },
  append: {
    weight: 8,
    work({ kernel, ledger }, { processes }, dice) {
      const id = processes.length > 0 ? dice.pick(processes) : "p";
      const key = `k${dice.below(4)}`;
      const append = async () => {
        const { event } = await kernel.processes.appendEvent(id, { eventType: "note", payload: key, replayKey: key });
        ledger.appended(id, key, event.sequence);
      };
      return { told: `appends ${key} to ${id}`, done: runCall(ledger, `append to ${id}`, append, ["not-found"]) };
    },
  },
  submit: {
    weight: 24,
    work(guest, { inputs }, dice, number) {
      const sessionId = dice.pick(SESSIONS);
      const inputId = `i${number}`;
      const isDurable = dice.chance(0.85);
      const submission: InputSubmission = {
        ...dice.pick([
          { inputType: "prompt" as const, text: inputId },
          { inputType: "prompt" as const, text: inputId, handlingMode: "steer" as const },
          { inputType: "external_event" as const, text: inputId },
        ]),
        inputId,
        ...(dice.chance(0.25) && { idempotencyKey: `k${dice.below(4)}` }),
        ...(!isDurable && { durability: "ephemeral" as const }),
      };
      return {
        told: `submits ${JSON.stringify(submission)} to ${sessionId}`,
        done: runCall(guest.ledger, `submit ${inputId}`, () => submit(guest, inputs, sessionId, submission), [
          "not-found",
          "conflict",
        ]),
      };
    },
  },
  withdraw: {
    weight: 2,
    work({ sessions, ledger }, { inputs }, dice) {
      const { sessionId, inputId } = inputs.length > 0 ? dice.pick(inputs) : { sessionId: "s0", inputId: "i" };
      const cancel = async () => await sessions.get(sessionId)?.cancel(inputId);
      return { told: `cancels input ${inputId}`, done: runCall(ledger, `cancel ${inputId}`, cancel, ["not-found"]) };
    },
  },
  change: {
    weight: 4,
    work({ sessions, ledger }, _, dice) {
      const sessionId = dice.pick(SESSIONS);
      const how = dice.pick(["retire", "recycle", "recycle", "recycle", "reset"] as const);
      const change = async () => void (await sessions.get(sessionId)?.[how]());
      return { told: `${how}s ${sessionId}`, done: runCall(ledger, `${how} ${sessionId}`, change, ["not-found"]) };
    },
  },
  agent: {
    weight: 8,
    work(guest, _, dice) {
      const agentId = dice.pick(AGENTS);
      return {
        told: `registers agent ${agentId}`,
        done: runCall(guest.ledger, `agent ${agentId}`, () => register(guest, agentId)),
      };
    },
  },
  dismiss: {
    weight: 2,
    work({ ledger, agents }, _, dice) {
      const agentId = dice.pick(AGENTS);
      const registration = agents.get(agentId);
      agents.delete(agentId);
      const dismiss = async () => await registration?.close();
      return { told: `dismisses agent ${agentId}`, done: runCall(ledger, `dismiss ${agentId}`, dismiss) };
    },
  },
  login: {
    weight: 6,
    work({ kernel, ledger, life }, commons, dice) {
      const waitMs = dice.below(8_000);
      const attempts = dice.below(4);
      const login = async () => {
        const { state, expiresAtMs } = await kernel.auth.beginBrowser({ ...FLOW, pkceVerifier: "verifier" });
        ledger.loginBegan(state, expiresAtMs);
        await life.pause(waitMs);
        const flow = { ...FLOW, state };
        await askAboutLogin(ledger, "verify", state, commons, () => kernel.auth.verifyBrowser(flow));
        const others = Array.from({ length: attempts }, () => commons.anyGuest(dice));
        await Promise.all(others.map((guest) => guest && consume(guest, flow, commons)));
      };
      return { told: `logs in, ${attempts} consume it`, done: runCall(ledger, "login", login, ["conflict"]) };
    },
  },
  device: {
    weight: 4,
    work({ kernel, ledger, life }, commons, dice, number) {
      const flow = { ...DEVICE_FLOW, deviceCode: `d${number}` };
      const waits = Array.from({ length: dice.between(1, 4) }, () => dice.below(4_000));
      const login = async () => {
        const expiresAtMs = life.clock.now() + DEVICE_MS;
        await kernel.auth.admitDevice({ ...flow, expiresInMs: DEVICE_MS });
        ledger.loginBegan(flow.deviceCode, expiresAtMs);
        const others = waits.map((waitMs) => ({ guest: commons.anyGuest(dice), waitMs }));
        await Promise.all(others.map(({ guest, waitMs }) => guest && poll(guest, flow, waitMs, commons)));
      };
      return { told: `logs a device in, ${waits.length} poll`, done: runCall(ledger, "log a device in", login, ["conflict"]) };
    },
  },
  ...PROCESS_WORK,
  ...SESSION_WORK,
  ...FLOW_WORK,
  ...SCHEDULE_WORK,
};

async function register({ kernel, agents, enrolling, ledger }: Guest, agentId: string): Promise<void> {
  enrolling.push(agentId);
  try {
    const registration = await kernel.agent(agentId);
    agents.set(agentId, registration);
    registration.signal.addEventListener("abort", () => {
      if (agents.get(agentId) !== registration || enrolling.includes(agentId)) return;
      agents.delete(agentId);
      ledger.lostAgent(agentId);
    });
  } finally {
    enrolling.splice(enrolling.indexOf(agentId), 1);
  }
}

async function consume({ kernel, ledger }: Guest, flow: typeof FLOW & { state: string }, commons: Commons): Promise<void> {
  ledger.loginTried(flow.state);
  await askAboutLogin(ledger, "consume", flow.state, commons, async () => {
    await kernel.auth.consumeBrowser(flow);
    ledger.loginGranted(flow.state);
  });
}

async function poll(
  { kernel, ledger, life }: Guest,
  flow: typeof DEVICE_FLOW & { deviceCode: string },
  waitMs: number,
  commons: Commons,
): Promise<void> {
  const { deviceCode } = flow;
  await askAboutLogin(ledger, "poll", deviceCode, commons, async () => {
    const polled = await kernel.auth.pollDevice(flow);
    const end = ledger.pollBegan(deviceCode);
    try {
      await life.pause(waitMs);
      ledger.loginTried(deviceCode);
      await polled.consume();
      ledger.loginGranted(deviceCode);
    } finally {
      end();
      await polled.finish();
    }
  });
}

/** Makes a call about a login that another call may have taken. */
async function askAboutLogin(
  ledger: Ledger,
  call: string,
  login: string,
  commons: Commons,
  ask: () => Promise<void>,
): Promise<void> {
  try {
    await ask();
  } catch (error) {
    if (isHoldfastError(error) && error.code === "not-found") ledger.loginMissing(login, commons.latestWallMs());
    else ledger.failed(call, error, ["conflict"]);
  }
}
