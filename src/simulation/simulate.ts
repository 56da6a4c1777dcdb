import { cron } from "../kernel/process/schedules/cron.js";
import type { ScheduleRow } from "../stores/process/schedules/tables.js";
import type { WaitRow } from "../stores/process/tables.js";
import type { RuntimeRow } from "../stores/session/tables.js";
import type { SimulationReport } from "./chronicle.js";
import type { FaultKind } from "./fault-kinds.js";
import { STRIKES } from "./faults/faults.js";
import { ROW_RULES } from "./judge/judge.js";
import { PROMISES } from "./judge/ledger.js";
import { unfinished } from "./judge/unfinished.rules.js";
import { type CheckedSimulation, checkSimulation, type SimulationOptions } from "./options.js";
import { planOf } from "./plan.rules.js";
import { sendAwaited } from "./works/flow-work.js";
import { runCall } from "./works/work.js";
import { WORK } from "./works/workload.js";
import { createWorld, TIMINGS, type World } from "./world.js";

const SECOND_MS = 1_000;
/** Long enough for all that can finish, also after a clock was set back or pauses grew. */
const CALM_MS = 300_000;

/** The names of all rules that a run checks. */
export const SIMULATION_RULES: readonly string[] = [...new Set([...Object.keys(ROW_RULES), ...PROMISES])];

/**
 * Runs one seeded world to its end, or to the first broken rule. The report says what happened in it, also if a rule was broken. Rejects
 * `invalid` for an option that is no number of steps or hosts, or no kind of fault or work.
 */
export async function simulate(options: SimulationOptions): Promise<SimulationReport> {
  const checked = checkSimulation(options);
  // No seed decides how long code takes to load.
  await cron.load();
  const world = createWorld(checked);
  const { chronicle, machine, tabs } = world;
  try {
    await runSteps(world, checked);
    await calmDown(world);
    await finishWork(world);
  } catch (error) {
    chronicle.complain("the world goes on", String((error as Error)?.stack ?? error));
  } finally {
    for (const tab of tabs) tab.end();
    await machine.timeline.run(machine.timeline.nowMs, () => false);
    machine.timeline.close();
  }
  return chronicle.report(checked.seed);
}

const runFor = ({ machine: { timeline }, chronicle }: World, forMs: number) =>
  timeline.run(timeline.nowMs + forMs, () => chronicle.isOver);

async function runSteps(world: World, { steps, hosts, faults, work, only }: CheckedSimulation): Promise<void> {
  const { timeline } = world.machine;
  for (const tab of world.tabs) tab.boot();
  const strikes = faults.filter((kind): kind is keyof typeof STRIKES => kind !== "reordered");
  const weights = {
    faults: strikes.map((kind): [FaultKind, number] => [kind, STRIKES[kind].weight]),
    work: work.map((kind) => [kind, WORK[kind].weight] as const),
  };
  const plan = planOf({ steps, hosts, ...weights }, world.dice.fork("plan"));
  const planned = plan.filter(({ number }) => only?.includes(number) ?? true);
  for (const step of planned) timeline.after(step.atMs, () => world.steps.perform(step));
  await runFor(world, (planned.at(-1)?.atMs ?? 0) + 5 * SECOND_MS);
}

/** Ends all faults, and gives waits the time to hear. */
async function calmDown(world: World): Promise<void> {
  const { chronicle, commons, network, tabs, observer } = world;
  chronicle.log("all", "is calm from now on");
  commons.isCalm = true;
  Object.assign(network.faults, { lost: 0, doubled: 0, delayed: 0 });
  for (const tab of tabs) {
    if (tab.life) Object.assign(tab.life, { slowness: 1, isFull: false });
    tab.heal();
  }
  await runFor(world, TIMINGS.pollMs + SECOND_MS);
  observer.notes.checkWaits();
}

/** Loads every page anew, so that work which stood still by chance goes on elsewhere. All that can finish has to. */
async function finishWork(world: World): Promise<void> {
  const { chronicle, observer, tabs } = world;
  const { timeline } = world.machine;
  const endMs = timeline.nowMs + CALM_MS;
  for (const [at, tab] of tabs.entries()) timeline.after(at * 2 * SECOND_MS, () => tab.reload(SECOND_MS));
  await runFor(world, 2 * SECOND_MS * (tabs.length + 1));
  while (!chronicle.isOver && timeline.nowMs < endMs && unfinishedOf(world).length > 0) {
    recycle(world);
    endFlows(world);
    await runFor(world, SECOND_MS);
  }
  if (chronicle.isOver) return;
  for (const what of [...unfinishedOf(world), ...observer.notes.unkept()]) chronicle.complain("what can finish does", what);
}

function unfinishedOf({ rows, machine, steps, guests }: World): string[] {
  return unfinished(rows, {
    nowMs: machine.wallMs(),
    staleAfterMs: TIMINGS.staleAfterMs,
    waiting: steps.waiting,
    keeperOf: (agentId) => guests.find(({ agents }) => agents.has(agentId))?.life,
  });
}

/** Schedules make no more work, and waits for signals that have no end of their own get one. */
function endFlows({ rows, guests, machine }: World): void {
  const [guest] = guests;
  if (!guest) return;
  for (const id of rows.all<ScheduleRow>("schedules").map(({ scheduleId }) => scheduleId))
    void runCall(guest.ledger, `delete ${id}`, () => guest.kernel.schedules.delete(id));
  for (const { processId, kind, key, name } of rows.all<WaitRow>("waits"))
    if (kind === "signal" && name !== undefined) void sendAwaited(guest, processId, name, `${key} ${machine.timeline.nowMs}`);
}

/** A retired session runs nothing more until it is recycled. */
function recycle({ rows, guests }: World): void {
  const [guest] = guests;
  for (const [sessionId, session] of guest?.sessions ?? []) {
    const row = rows.get<RuntimeRow>("runtimes", session.runtimeId);
    if (row?.state === "retired")
      void session.recycle().catch((error: unknown) => guest?.ledger.failed(`recycle ${sessionId}`, error));
  }
}
