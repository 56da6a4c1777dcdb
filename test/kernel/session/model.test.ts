import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import fc from "fast-check";
import { expect, it } from "vitest";
import { memoryStorage } from "../../../src/adapters/storage-memory.js";
import { indexedDbStorage } from "../../../src/indexeddb.js";
import type { KernelStorage } from "../../../src/ports/storage.js";
import { SCHEMA, type TableName } from "../../../src/stores/schema.js";
import { KINDS, raiseStage, type Stage, type Submission } from "./stage.js";

/** The life of one input, as the model has it: described a second time, and as short as possible. */
interface Life {
  readonly id: string;
  readonly kind: Submission["kind"];
  readonly lane: "queue" | "steer";
  readonly replaces: string | undefined;
  phase: string;
  why?: string | undefined;
  attempts: number;
  recoveries: number;
  failures: number;
  /** Crashes in a row. */
  crashes: number;
  /** The inputs that it was last staged with. */
  peers?: readonly Life[];
}

class Model {
  state = "idle";
  lives: Life[] = [];
  keys = new Map<string, string>();
  run: { batch: Life[]; before: string; unsaid: string[] } | undefined;
  begun: string[][] = [];
  said: string[] = [];

  get live(): Life[] {
    return this.lives.filter(({ phase }) => phase === "queued" || phase === "staged");
  }

  submit({ kind, inputId, mode, key, replaces }: Submission): string {
    if ((this.run && this.state === "running" ? this.run.before : this.state) !== "idle") return "not-ready";
    if (kind === "progress" && mode) return "rejected";
    if (key && this.keys.has(key)) return "deduplicated";
    if (this.lives.some(({ id }) => id === inputId)) return "conflict";
    if (key) this.keys.set(key, inputId);
    const usual = kind === "continuation" || kind === "progress" ? "steer" : "queue";
    const lane = kind === "event" ? "queue" : (mode ?? usual);
    const canReplace = replaces && (kind === "event" || kind === "progress");
    const old = this.lives.find(
      (life) => canReplace && life.phase === "queued" && life.kind === kind && life.replaces === replaces,
    );
    if (old) old.phase = kind === "event" ? "superseded" : "coalesced";
    const phase = kind === "operation" ? "consumed" : "queued";
    this.lives.push({ id: inputId, kind, lane, replaces, phase, attempts: 0, recoveries: 0, failures: 0, crashes: 0 });
    return "accepted";
  }

  /** Begins a run if there is an input to run. */
  go(): void {
    if (this.run || (this.state !== "idle" && this.state !== "retired")) return;
    const queued = this.lives.filter(({ phase }) => phase === "queued");
    if (this.state === "idle" && queued.every(({ kind }) => kind === "progress")) return;
    const steer = queued.filter(({ lane }) => lane === "steer");
    const batch: Life[] = [];
    for (const life of steer.length > 0 ? steer : queued) {
      const first = batch[0] ?? life;
      const fits = (life.kind === "continuation") === (first.kind === "continuation") && life.peers === first.peers;
      if (!fits) break;
      batch.push(life);
      if (steer.length === 0 && life.kind === "prompt") break;
    }
    if (batch.length === 0) return;
    for (const life of batch) Object.assign(life, { phase: "staged", attempts: life.attempts + 1 });
    const isSame = batch[0]?.peers?.length === batch.length;
    if (!isSame) for (const life of batch) life.peers = batch;
    const unsaid = batch.filter(({ id, kind }) => kind !== "continuation" && !this.said.includes(id)).map(({ id }) => id);
    this.begun.push(batch.map(({ id }) => id));
    this.run = { batch, before: this.state, unsaid };
    this.state = "running";
  }

  end(of: (life: Life) => void): void {
    const { run } = this;
    if (!run) return;
    for (const life of run.batch) of(life);
    if (this.state === "running") this.state = run.before;
    this.run = undefined;
  }

  say(more: string): void {
    this.said.push(...(this.run?.unsaid ?? []), more);
    if (this.run) this.run.unsaid = [];
  }

  abandon(why: string, lives = this.live): void {
    for (const life of lives) Object.assign(life, { phase: "abandoned", why });
  }
}

const again = (life: Life) => {
  life.phase = "queued";
};
const exhausted = "max_attempts_exhausted";

interface Step {
  readonly name: string;
  /** This step is only taken while a turn runs. */
  readonly inTurn?: true;
  model(model: Model): unknown;
  real(stage: Stage): Promise<unknown>;
}

const STEPS: Step[] = [
  {
    name: "succeed",
    inTurn: true,
    model(model) {
      model.say(`answer ${model.begun.length}`);
      model.end((life) => {
        life.phase = "consumed";
      });
    },
    real: async (stage) => stage.succeed(),
  },
  {
    name: "fail",
    inTurn: true,
    model: (model) =>
      model.end((life) => {
        if (++life.failures === 3) return model.abandon(exhausted, [life]);
        life.crashes = 0;
        again(life);
      }),
    real: async (stage) => stage.fail(),
  },
  {
    name: "checkpoint",
    inTurn: true,
    model(model) {
      model.say(`note ${model.begun.length}`);
      for (const life of model.run?.batch ?? []) life.crashes = 0;
    },
    real: (stage) => stage.checkpoint(),
  },
  {
    name: "crash",
    model: (model) =>
      model.end((life) => {
        life.recoveries++;
        if (++life.crashes === 5) model.abandon(exhausted, [life]);
        else again(life);
      }),
    real: (stage) => stage.crash(),
  },
  { name: "close", model: (model) => model.end(again), real: (stage) => stage.close() },
  { name: "reopen", model: (model) => model.end(again), real: (stage) => stage.reopen() },
  {
    name: "retire",
    model(model) {
      if (model.state === "stopped" || model.state === "destroyed") return "not-ready";
      model.state = "retired";
      return { abandoned: 0, pendingDrain: model.live.length };
    },
    real: (stage) => stage.tab().session.retire(),
  },
  {
    name: "reset",
    model(model) {
      if (model.run || (model.state !== "idle" && model.state !== "retired")) return "not-ready";
      model.state = "idle";
      const abandoned = model.live.length;
      model.abandon("reset");
      return { abandoned };
    },
    real: (stage) => stage.tab().session.reset(),
  },
  {
    name: "recycle",
    model(model) {
      if (model.run || (model.state !== "idle" && model.state !== "retired")) return "not-ready";
      model.state = "idle";
      return { carriedOver: model.live.length };
    },
    real: (stage) => stage.tab().session.recycle(),
  },
  {
    name: "shutdown",
    model(model) {
      if (model.state === "destroyed") return "not-ready";
      model.state = "stopped";
      model.abandon("stopped");
      model.run = undefined;
    },
    real: (stage) => stage.tab().session.shutdown(),
  },
  {
    name: "destroy",
    model(model) {
      if (model.state === "destroyed") return "not-ready";
      const abandoned = model.live.length;
      model.state = "destroyed";
      model.abandon("destroyed");
      model.run = undefined;
      return { abandoned };
    },
    real: (stage) => stage.tab().session.destroy(),
  },
  {
    name: "delete",
    model: (model) => Object.assign(model, { state: "idle", lives: [], keys: new Map(), run: undefined, said: [] }) && undefined,
    real: (stage) => stage.remove(),
  },
];

const WEIGHTS: Record<string, number> = {
  succeed: 6,
  fail: 12,
  checkpoint: 4,
  crash: 8,
  close: 4,
  reset: 4,
  delete: 1,
  shutdown: 1,
  destroy: 1,
};

type Real = { stage: Stage };

function commandOf({ name, inTurn, model: tell, real: act }: Step): fc.AsyncCommand<Model, Real> {
  return {
    check: (model) => !inTurn || model.run !== undefined,
    async run(model, { stage }) {
      const expected = tell(model);
      model.go();
      const reply = await act(stage).catch((error: { code?: string }) => error.code);
      await stage.settle();
      expect(reply).toEqual(expected);
      await compare(model, stage);
    },
    toString: () => name,
  };
}

const inputIds = fc.constantFrom(...Array.from({ length: 60 }, (_, at) => `i${at}`));
const submissionFields = fc.record({
  kind: fc.constantFrom(...KINDS, "prompt", "event", "event", "progress"),
  inputId: inputIds,
  mode: fc.constantFrom(undefined, undefined, "queue", "steer"),
  key: fc.constantFrom(undefined, undefined, undefined, undefined, "k1", "k2"),
  replaces: fc.constantFrom(undefined, "x"),
});
const submissions = submissionFields.map((given): fc.AsyncCommand<Model, Real> => {
  const submission = given as Submission;
  return {
    check: () => true,
    async run(model, { stage }) {
      const expected = model.submit(submission);
      model.go();
      const reply = await stage.submit(submission).then(
        ({ outcome }) => outcome,
        ({ code }) => code,
      );
      await stage.settle();
      expect(reply).toBe(expected);
      await compare(model, stage);
    },
    toString: () => `submit ${JSON.stringify(submission)}`,
  };
});

const cancels = inputIds.map(
  (inputId): fc.AsyncCommand<Model, Real> => ({
    check: ({ live }) => live.some(({ id }) => id === inputId),
    async run(model, { stage }) {
      const life = model.live.find(({ id }) => id === inputId) as Life;
      const isRunning = life.phase === "staged";
      model.abandon("cancelled", [life]);
      if (isRunning) model.end((each) => each !== life && again(each));
      model.go();
      await stage.tab().session.cancel(inputId);
      await stage.settle();
      await compare(model, stage);
    },
    toString: () => `cancel ${inputId}`,
  }),
);

async function compare(model: Model, { rows, begun }: Stage): Promise<void> {
  expect(begun).toEqual(model.begun);
  const stored = (await rows.inputs()).map(({ inputId, record }) => {
    const { currentState, attemptCount, recoveryCount, terminalOutcome: end } = record;
    const reason = end?.outcomeType === "abandoned" ? end.reason : undefined;
    return [inputId, currentState, attemptCount, recoveryCount, typeof reason === "object" ? exhausted : reason];
  });
  const expected = model.lives.map(({ id, phase, attempts, recoveries, why }) => [id, phase, attempts, recoveries, why]);
  expect(stored).toEqual(expected.sort(([a], [b]) => ((a as string) < (b as string) ? -1 : 1)));
  expect((await rows.runtime()).state).toBe(model.state);
  expect(await rows.said()).toEqual(model.said);
  expect((await rows.lease())?.leaseToken !== undefined).toBe(model.run !== undefined);
}

it("an input lives as the model says, whatever befalls its session", { timeout: 60_000 }, async () => {
  const steps = STEPS.flatMap((step) => Array.from({ length: WEIGHTS[step.name] ?? 2 }, () => fc.constant(commandOf(step))));
  const commands = fc.commands(
    [...Array.from({ length: 40 }, () => submissions), ...Array.from({ length: 30 }, () => cancels), ...steps],
    { maxCommands: 60, size: "max" },
  );
  await fc.assert(
    fc.asyncProperty(commands, async (history) => {
      const stage = await raiseStage();
      try {
        await fc.asyncModelRun(() => ({ model: new Model(), real: { stage } }), history);
      } finally {
        await stage.town.close();
      }
    }),
    { seed: 20, numRuns: 120 },
  );
});

/** Bytes that count up, in place of random ones: ids made of them sort in the order in which they were made, and no two are equal. */
function counting() {
  let made = 0;
  return (count: number) => {
    const bytes = new Uint8Array(count);
    made++;
    for (let at = 0; at < count; at++) bytes[at] = (made >> (8 * (3 - (at % 4)))) & 255;
    return bytes;
  };
}

const ID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}|[0-9a-f]{12}(?=")/g;

type Scene = { name: string; submission?: Submission };

/** All rows at the end, with each generated id replaced by its number in the order of making. */
async function rowsAfter(place: KernelStorage, scenes: readonly Scene[]): Promise<unknown> {
  const stage = await raiseStage(place, { random: counting() });
  try {
    const replies: unknown[] = [];
    for (const { name, submission } of scenes) {
      const step = STEPS.find((each) => each.name === name);
      if (step?.inTurn && !(await stage.rows.runtime()).run) continue;
      const done = submission ? stage.submit(submission) : (step as Step).real(stage);
      replies.push(await done.catch(({ code }: { code?: string }) => code));
      await stage.settle();
    }
    const tables = Object.keys(SCHEMA.tables) as TableName[];
    const rows = Object.fromEntries(
      await Promise.all(tables.map(async (table) => [table, await stage.town.rows(table)] as const)),
    );
    const text = JSON.stringify({ begun: stage.begun, replies, rows });
    const ids = [...new Set(text.match(ID))].sort();
    return JSON.parse(text.replace(ID, (id) => `#${ids.indexOf(id)}`));
  } finally {
    await stage.town.close();
  }
}

it("one history leaves the same rows in memory and on an IndexedDB in memory", { timeout: 60_000 }, async () => {
  const names = STEPS.flatMap(({ name }) => Array.from({ length: WEIGHTS[name] ?? 2 }, () => name));
  const scene = fc.oneof(
    { weight: 2, arbitrary: fc.record({ name: fc.constantFrom(...names) }) },
    {
      weight: 3,
      arbitrary: fc
        .tuple(submissionFields, fc.boolean())
        .map(([given, brief]) => ({ name: "submit", submission: { ...given, brief } as Submission })),
    },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(scene, { minLength: 10, maxLength: 40, size: "max" }), async (scenes) => {
      const onIndexedDb = await rowsAfter(indexedDbStorage({ indexedDB: new IDBFactory(), IDBKeyRange }), scenes);
      expect(onIndexedDb).toEqual(await rowsAfter(memoryStorage(), scenes));
    }),
    { seed: 21, numRuns: 40 },
  );
});
