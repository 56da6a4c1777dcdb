import type { Remote } from "comlink";
import { deleteBare } from "../bare.js";
import { quantile } from "../measure.js";
import { type Crew, type Member, member, openCrew, type Pace } from "../ways/crew.js";
import type { Fact, Work } from "../work.js";

const MANY = "bench-tabs";
const ONE = "bench-tabs-one";
/** Processes started, or inputs submitted, by all tabs together. */
const PER_SECOND = 40;
const LOOK_MS = 250;
/** Twice the goal: a slower result must still be measured. */
const PATIENCE_MS = 60_000;

/** Figures of one round beside the times. */
interface Processes {
  readonly perSecond: number;
  readonly least: number;
  readonly most: number;
}

interface Backlog {
  readonly turnsPerSecond: number;
  readonly waiting: number;
  readonly drainedMs: number;
  readonly left: number;
}

export const tabs: Work = {
  name: "tabs",
  title: "20 tabs with one database",
  about:
    `20 tabs, all but the bench's own hidden, with a kernel each on one database. First each starts processes at an equal pace, together ${PER_SECOND} a ` +
    "second for 10 s: a handler of 10 ms, up to 8 at once in a tab, from the call of `start` to the result in the tab that called it. Then each " +
    `submits inputs to the same session, together ${PER_SECOND} a second for 10 s, with a turn of 10 ms each: how long it takes from the load's end until ` +
    "no input waits. The floor is one tab that does all of it alone. A session that is not done after 60 s is ended.",
  unit: "ms",
  goals: [
    { fact: "processes: most that one tab ran, to the least, in the worst of all rounds", atMost: 3 },
    { fact: "session: from the load's end until nothing waits, in the worst of all rounds", atMost: 30 },
    { fact: "session: inputs given up, in all rounds", atMost: 0 },
    { of: "a process, 20 tabs, median", over: "a process, one tab, median", time: "printed" },
    { of: "a process, 20 tabs, p95", over: "a process, one tab, p95", time: "printed" },
    { of: "a session's backlog, 20 tabs", over: "a session's backlog, one tab", time: "printed" },
  ],
  rounds: 3,
  tabs: { member },
  async open(bench) {
    const one = await openCrew(bench, "member", ONE, 1);
    const many = await openCrew(bench, "member", MANY, bench.size(20, 3));
    const processes: Processes[] = [];
    const backlogs: Backlog[] = [];
    let sessions = 0;

    /** The tabs take turns, so that the whole load is even, too. */
    function paceOf(at: number, { members }: Crew): Pace {
      const everyMs = (1_000 / PER_SECOND) * members.length;
      return { count: Math.floor(bench.size(10_000, 1_000) / everyMs), everyMs, afterMs: (1_000 / PER_SECOND) * at };
    }
    const each = <T>({ members }: Crew, order: (member: Remote<Member>, at: number) => Promise<T>) =>
      Promise.all(members.map(order));

    async function runProcesses(crew: Crew): Promise<{ ms: number[]; told: Processes }> {
      await each(crew, (tab) => tab.ran());
      const startedMs = performance.now();
      const ms = (await each(crew, (tab, at) => tab.start(paceOf(at, crew)))).flat();
      const seconds = (performance.now() - startedMs) / 1_000;
      const ran = await each(crew, (tab) => tab.ran());
      return { ms, told: { perSecond: ms.length / seconds, least: Math.min(...ran), most: Math.max(...ran) } };
    }

    async function runSession(crew: Crew): Promise<Backlog> {
      const sessionId = `s-${sessions++}`;
      await each(crew, (tab) => tab.join(sessionId));
      const count = crew.members.reduce((sum, _, at) => sum + paceOf(at, crew).count, 0);
      const waiting = async () => count - (await each(crew, (tab) => tab.consumed())).reduce((sum, of) => sum + of, 0);
      const startedMs = performance.now();
      await each(crew, (tab, at) => tab.submit(paceOf(at, crew)));
      const endedMs = performance.now();
      const atEnd = await waiting();
      let left = atEnd;
      while (left > 0 && performance.now() < endedMs + PATIENCE_MS) {
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
        left = await waiting();
      }
      const drainedMs = performance.now() - endedMs;
      await crew.members[0]?.destroy();
      await each(crew, (tab) => tab.leave());
      return { turnsPerSecond: ((count - atEnd) / (endedMs - startedMs)) * 1_000, waiting: atEnd, drainedMs, left };
    }

    return {
      variants: [
        { name: "a process, one tab", run: async () => (await runProcesses(one)).ms },
        {
          name: "a process, 20 tabs",
          async run() {
            const { ms, told } = await runProcesses(many);
            processes.push(told);
            return ms;
          },
        },
        { name: "a session's backlog, one tab", run: async () => (await runSession(one)).drainedMs },
        {
          name: "a session's backlog, 20 tabs",
          async run() {
            const backlog = await runSession(many);
            backlogs.push(backlog);
            return backlog.drainedMs;
          },
        },
      ],
      facts: async () => [...factsOfProcesses(processes), ...factsOfBacklogs(backlogs)],
      async close() {
        await one.close();
        await many.close();
        await deleteBare(ONE);
        await deleteBare(MANY);
      },
    };
  },
};

const median = <T>(rounds: readonly T[], figure: (round: T) => number) => quantile(rounds.map(figure), 0.5);
const worst = <T>(rounds: readonly T[], figure: (round: T) => number) => Math.max(...rounds.map(figure));

function factsOfProcesses(rounds: readonly Processes[]): Fact[] {
  return [
    { name: "processes: a second, until all have ended", value: median(rounds, ({ perSecond }) => perSecond), unit: "" },
    { name: "processes: least that one tab ran", value: median(rounds, ({ least }) => least), unit: "" },
    { name: "processes: most that one tab ran", value: median(rounds, ({ most }) => most), unit: "" },
    {
      name: "processes: most that one tab ran, to the least, in the worst of all rounds",
      // A tab without any process counts as if it had run one.
      value: worst(rounds, ({ least, most }) => most / Math.max(1, least)),
      unit: "x",
    },
  ];
}

function factsOfBacklogs(rounds: readonly Backlog[]): Fact[] {
  return [
    { name: "session: turns a second under load", value: median(rounds, ({ turnsPerSecond }) => turnsPerSecond), unit: "" },
    { name: "session: inputs that wait at the load's end", value: median(rounds, ({ waiting }) => waiting), unit: "" },
    {
      name: "session: from the load's end until nothing waits, in the worst of all rounds",
      value: worst(rounds, ({ drainedMs }) => drainedMs) / 1_000,
      unit: "s",
    },
    { name: "session: inputs given up, in all rounds", value: rounds.reduce((sum, { left }) => sum + left, 0), unit: "" },
  ];
}
