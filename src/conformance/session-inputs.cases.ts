import type { JsonValue } from "../domain/json.js";
import { INPUT_KINDS, type InputKind, type PolicyDecision, type StoredInputState } from "../domain/session/input.js";
import { mintLifecycleCommit } from "../domain/session/lifecycle-commit.js";
import type { RuntimeState } from "../domain/session/session.js";
import type { SessionRuntime } from "../kernel/session/session.js";
import { placed } from "../stores/session/inputs/input-rows.rules.js";
import { builtInPolicy, semanticsOf } from "../stores/session/inputs/policy.rules.js";
import type { InputSubmission } from "../stores/session/inputs/submission.js";
import type { InputRow } from "../stores/session/inputs/tables.js";
import { casesOn, count, type Ground, mismatch, type OpenFixture, outcomes, type Runner, refused } from "./fixture.js";
import { DECISION, RUNTIME, readRows, receipt, writeRows } from "./runtime.fixture.js";
import { SESSION_FIELDS } from "./session.fields.js";
import {
  ABANDONED,
  CONSUMED,
  comes,
  drained,
  events,
  everything,
  gate,
  operation,
  outcomeOf,
  phases,
  prompt,
  quiet,
  SUBMISSIONS,
  said,
  stateOf,
  waiting,
} from "./session.fixture.js";
import { complaints } from "./session.invariants.js";

const DAY = 24 * 60 * 60 * 1_000;

/** How inputs come into a session: admitted, deduplicated, replaced, recovered. Turns are in session-turns.cases.ts. */
export function sessionInputCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const cases = casesOn(open, runner);

  /** After each case all rows fit together, whatever it did. */
  const promise = (name: string, body: (ground: Ground) => Promise<void>) =>
    cases.promise(name, async (ground) => {
      await body(ground);
      expect(await complaints(ground)).toEqual([]);
    });

  /** A session of a kernel that runs no turns, with what its kernel tells. */
  async function opened({ kernel }: Ground) {
    const session = await kernel.session("s");
    return { kernel, session, told: events(kernel) };
  }

  /** A session of a kernel that runs turns, once it has a handler. */
  async function running(ground: Ground) {
    const kernel = await ground.open({ loop: "inline" });
    const session = await kernel.session("s");
    return { kernel, session, told: events(kernel) };
  }

  async function changesNoRow(ground: Ground, work: () => Promise<void>): Promise<void> {
    const before = await everything(ground);
    await work();
    expect(await everything(ground)).toEqual(before);
  }

  /** The ids of every run's inputs, run after run. */
  function runsOf(session: SessionRuntime): string[][] {
    const runs: string[][] = [];
    session.onTurn(async ({ inputs }) => void runs.push(inputs.map(({ inputId }) => inputId)));
    return runs;
  }

  const idsOf = (told: readonly { code: string; inputId?: string }[], code: string) =>
    told.filter((event) => event.code === code).map(({ inputId }) => inputId);

  badArguments();
  admission();
  dedup();
  replacement();
  commands();
  recovery();

  function badArguments(): void {
    for (const [at, [field, values, call]] of SESSION_FIELDS.entries()) {
      promise(`what cannot be ${field} is refused by that name, and stores nothing (${at + 1})`, async (ground) => {
        const { kernel, session } = await opened(ground);
        await session.submit(prompt("a", { idempotencyKey: "k" }));
        await changesNoRow(ground, async () => {
          const wrong: string[] = [];
          for (const [name, value] of Object.entries(values())) {
            const problem = await mismatch((async () => call(session, value as never, kernel))(), "invalid", field);
            if (problem !== undefined) wrong.push(`${name}: ${problem}`);
          }
          expect(wrong).toEqual([]);
        });
        expect((await session.submit(prompt("b"))).outcome).toBe("accepted");
      });
    }

    promise("an object that was left takes nothing more", async (ground) => {
      const { session } = await opened(ground);
      await session[Symbol.asyncDispose]();
      await session[Symbol.asyncDispose]();
      const calls: Promise<unknown>[] = [
        session.submit(prompt("a")),
        session.cancel("a"),
        session.messages(),
        session.blob("x"),
        session.retire(),
      ];
      calls.push(session.reset(), session.recycle(), session.stop(), session.destroy());
      expect((await outcomes<unknown>(calls)).codes).toEqual(calls.map(() => "closed"));
      for (const call of [() => session.onTurn(async () => {}), () => session.subscribe(() => {})]) {
        await refused((async () => call())(), "closed");
      }
    });
  }

  function admission(): void {
    promise("an accepted input can be read with all its stamps, in any tab, when the call resolves (R-81)", async (ground) => {
      const { session } = await opened(ground);
      const other = await ground.open();
      const given = prompt("a", { idempotencyKey: "k", correlationId: "c", extra: { deep: [1, "ü"] } });
      expect(await session.submit(given)).toEqual({ outcome: "accepted", inputId: "a" });
      const decision = builtInPolicy({ kind: "prompt", idle: true });
      const { history, ...stored } = await stateOf(other, "a");
      const now = ground.clock.now();
      expect(stored).toEqual({
        inputId: "a",
        currentState: "queued",
        policy: { version: 1, decision },
        runtimeSemantics: { boundary: "run_start", executionKind: "content_turn" },
        durability: "durable",
        idempotencyKey: "k",
        attemptCount: 0,
        recoveryCount: 0,
        persistedInput: {
          inputType: "prompt",
          text: "a",
          correlationId: "c",
          extra: { deep: [1, "ü"] },
          source: { type: "operator" },
          visibility: { transcriptEligible: true, operatorEligible: true },
        },
        createdAtMs: now,
        updatedAtMs: now,
      });
      expect(history.map(({ from, to }) => [from, to])).toEqual([["accepted", "queued"]]);
      const again = await ground.reopen();
      expect(await stateOf(again, "a")).toEqual({ ...stored, history });
    });

    promise(
      "an input is queued the moment it is admitted, of whatever kind; its history says so (R-60, R-66)",
      async (ground) => {
        const { kernel, session } = await opened(ground);
        for (const kind of INPUT_KINDS) await session.submit({ ...SUBMISSIONS[kind], inputId: kind } as InputSubmission);
        for (const kind of INPUT_KINDS) {
          const { currentState, history } = await stateOf(kernel, kind);
          expect(currentState).toBe(kind === "operation" ? "consumed" : "queued");
          expect(history.map(({ from, to, timestampMs }) => [from, to, timestampMs])).toEqual([
            ["accepted", currentState, ground.clock.now()],
          ]);
          expect(history.every(({ reason = "" }) => reason.length > 0)).toBe(true);
        }
      },
    );

    promise("the policy of the built-in table is stamped, by kind and by whether it is idle (R-87)", async (ground) => {
      const { kernel, session } = await running(ground);
      const stamped = async (kind: InputKind, idle: boolean) => {
        const inputId = `${kind} ${idle ? "idle" : "busy"}`;
        await session.submit({ ...SUBMISSIONS[kind], inputId } as InputSubmission);
        const decision = builtInPolicy({ kind, idle });
        const { policy, runtimeSemantics } = await stateOf(kernel, inputId);
        expect({ kind, policy, runtimeSemantics }).toEqual({
          kind,
          policy: { version: 1, decision },
          runtimeSemantics: semanticsOf(kind, decision),
        });
      };
      for (const kind of INPUT_KINDS) await stamped(kind, true);
      const [begun, leave] = [gate(), gate()];
      const off = session.onTurn(async () => {
        begun.open();
        await leave.promise;
      });
      await begun.promise;
      for (const kind of INPUT_KINDS) await stamped(kind, false);
      leave.open();
      off();
    });

    promise("a submission chooses its lane itself, but never that of a progress response (R-72, R-87)", async (ground) => {
      const { kernel, session } = await opened(ground);
      for (const kind of INPUT_KINDS) {
        for (const handlingMode of ["queue", "steer"] as const) {
          const inputId = `${kind} ${handlingMode}`;
          const outcome = await session.submit({ ...SUBMISSIONS[kind], inputId, handlingMode } as InputSubmission);
          if (kind === "peer_response_progress") {
            expect(outcome).toEqual({ outcome: "rejected", reason: "peer_handling_mode_invalid" });
            continue;
          }
          expect((await stateOf(kernel, inputId)).policy?.decision).toEqual(builtInPolicy({ kind, idle: true, handlingMode }));
        }
      }
    });

    promise(
      "inputs run in the order of their admission, whatever their ids and whoever submits at once (R-63)",
      async (ground) => {
        const { kernel, session } = await running(ground);
        const ids = count(12).map((n) => `${String.fromCharCode(122 - n)}${n}`);
        await Promise.all(ids.map((id) => session.submit(prompt(id))));
        const runs = runsOf(session);
        await drained(kernel);
        expect(runs).toEqual(ids.map((id) => [id]));
      },
    );

    promise("a priority input goes before all that waits, also before earlier ones of its kind (R-63)", async (ground) => {
      const kernel = await ground.open({ loop: "inline" });
      let first = false;
      const session = await kernel.session("s", {
        policy: () => (first ? { ...DECISION, queueMode: "priority" } : undefined),
      });
      await session.submit(prompt("a"));
      await session.submit(prompt("b"));
      first = true;
      for (const id of ["p1", "p2", "p3"]) await session.submit(prompt(id));
      first = false;
      await session.submit(prompt("c"));
      const runs = runsOf(session);
      await drained(kernel);
      expect(runs.flat()).toEqual(["p3", "p2", "p1", "a", "b", "c"]);
    });

    promise("the steer lane is run before the queue, to its end (R-64)", async (ground) => {
      const { kernel, session } = await running(ground);
      await session.submit(prompt("q1"));
      await session.submit(prompt("q2"));
      await session.submit(prompt("s1", { handlingMode: "steer" }));
      await session.submit({ inputType: "continuation", inputId: "s2" });
      await session.submit(prompt("s3", { handlingMode: "steer" }));
      const runs = runsOf(session);
      await drained(kernel);
      expect(runs).toEqual([["s1"], ["s2"], ["s3"], ["q1"], ["q2"]]);
    });

    promise(
      "an operation is consumed where it is accepted: outcome and phase are stored, nothing runs (R-65)",
      async (ground) => {
        const { kernel, session, told } = await running(ground);
        const runs = runsOf(session);
        await session.submit({ inputType: "operation", inputId: "o", idempotencyKey: "k" });
        await quiet();
        const { currentState, terminalOutcome, attemptCount } = await stateOf(kernel, "o");
        expect({ currentState, terminalOutcome, attemptCount }).toEqual({
          currentState: "consumed",
          terminalOutcome: CONSUMED,
          attemptCount: 0,
        });
        expect(runs).toEqual([]);
        expect(told.map(({ code }) => code).filter((code) => code.startsWith("run."))).toEqual([]);
        expect(await said(session)).toEqual([]);
      },
    );

    promise(
      "an id that is known is refused and the input that has it stays as it is, live or ended (R-62, R-67)",
      async (ground) => {
        const { kernel, session } = await opened(ground);
        await session.submit(prompt("a", { idempotencyKey: "k" }));
        await session.submit({ inputType: "operation", inputId: "o" });
        await changesNoRow(ground, async () => {
          for (const id of ["a", "o"]) {
            await refused(session.submit(prompt(id, { text: "another" })), "conflict", `"${id}"`);
            await refused(session.submit(prompt(id, { idempotencyKey: "new" })), "conflict", `"${id}"`);
          }
        });
        const again = await (await ground.reopen()).session("s");
        await refused(again.submit(prompt("a")), "conflict");
        expect(await again.submit(prompt("b", { idempotencyKey: "new" }))).toEqual({ outcome: "accepted", inputId: "b" });
        expect(kernel).toBe(ground.kernel);
      },
    );

    promise("of a hundred submissions of one id at once, one is stored (R-62)", async (ground) => {
      const { kernel, session } = await opened(ground);
      const other = await (await ground.open()).session("s");
      const calls = count(100).map((n) => (n % 2 ? session : other).submit(prompt("a", { n })));
      const { values, codes } = await outcomes(calls);
      expect(values.map(({ outcome }) => outcome)).toEqual(["accepted"]);
      expect(new Set(codes)).toEqual(new Set(["conflict"]));
      expect(await phases(kernel)).toEqual(["a queued"]);
    });

    promise(
      "what is wrong first is what is told: state, durability, lane, terminal fact, key, id (section D)",
      async (ground) => {
        const { session } = await opened(ground);
        await session.submit(prompt("a", { idempotencyKey: "k" }));
        const bad = {
          inputType: "peer",
          inputId: "a",
          idempotencyKey: "k",
          convention: { conventionType: "response_terminal", requestId: "" },
          source: { type: "peer" },
        } as const;
        const derived = { ...bad, durability: "derived" } as const;
        await changesNoRow(ground, async () => {
          expect(await session.submit(derived)).toEqual({ outcome: "rejected", reason: "durability_violation" });
          expect(await session.submit(bad)).toEqual({ outcome: "rejected", reason: "peer_response_terminal_invalid" });
          expect(await session.submit(prompt("a", { idempotencyKey: "k" }))).toEqual({
            outcome: "deduplicated",
            inputId: "a",
            existingId: "a",
          });
        });
        await session.retire();
        await refused(session.submit(derived), "not-ready", "retired");
        await refused(session.submit(prompt("a", { idempotencyKey: "k" })), "not-ready", "retired");
      },
    );

    promise("what is refused, rejected or deduplicated leaves nothing and wakes nobody (R-70)", async (ground) => {
      const { kernel, session, told } = await running(ground);
      await session.submit({ inputType: "operation", inputId: "o", idempotencyKey: "k" });
      const runs = runsOf(session);
      await quiet();
      told.splice(0);
      await changesNoRow(ground, async () => {
        await session.submit(prompt("b", { idempotencyKey: "k" }));
        await session.submit(prompt("c", { durability: "derived" }));
        const image = { type: "image", data: new Uint8Array([1]) };
        await session.submit(prompt("d", { idempotencyKey: "k", blocks: [image] }));
        await session.submit(prompt("e", { durability: "derived", blocks: [image] }));
        await refused(session.submit(prompt("o")), "conflict");
        await refused(session.submit({ inputType: "prompt" } as never), "invalid", "text");
        await quiet();
      });
      expect(runs).toEqual([]);
      expect(told.map(({ code, inputId }) => [code, inputId])).toEqual([
        ["input.deduplicated", "b"],
        ["input.deduplicated", "d"],
      ]);
      expect(await kernel.runtime.loadInputState(RUNTIME, "b")).toBe(undefined);
    });

    promise("only system and flow derive inputs, and only of kinds that can be derived again (R-71)", async (ground) => {
      const { session } = await opened(ground);
      const plain = { inputType: "peer", body: "without a convention" } as const;
      const derivable = new Set<object>([
        plain,
        ...(["peer_response_progress", "external_event", "continuation", "operation"] as const).map((kind) => SUBMISSIONS[kind]),
      ]);
      const message = { inputType: "peer", convention: { conventionType: "message" } } as const;
      const { peer_message: _, ...others } = SUBMISSIONS;
      for (const submission of [plain, message, ...Object.values(others)]) {
        for (const type of ["operator", "peer", "flow", "system", "external"] as const) {
          const outcome = await session.submit({ ...submission, durability: "derived", source: { type } } as InputSubmission);
          const isAllowed = derivable.has(submission) && (type === "system" || type === "flow");
          const found = outcome.outcome === "rejected" ? outcome.reason : outcome.outcome;
          expect([submission, type, found]).toEqual([submission, type, isAllowed ? "accepted" : "durability_violation"]);
        }
      }
    });

    promise("a terminal response names its request; a progress response may leave it out (R-72)", async (ground) => {
      const { session } = await opened(ground);
      const response = (conventionType: string, more: object) =>
        session.submit({ inputType: "peer", convention: { conventionType, ...more } });
      const rejected = { outcome: "rejected", reason: "peer_response_terminal_invalid" };
      for (const more of [{}, { requestId: "" }, { requestId: "  " }, { requestId: 7 }]) {
        expect(await response("response_terminal", more)).toEqual(rejected);
      }
      expect((await response("response_terminal", { requestId: "r" })).outcome).toBe("accepted");
      expect((await response("response_progress", {})).outcome).toBe("accepted");
    });

    promise("images are stored as blobs, once, and no inline byte of them in the input (R-83)", async (ground) => {
      const { kernel, session } = await opened(ground);
      const data = new Uint8Array(600).map((_, at) => (at * 7) % 251);
      const base64 = btoa(String.fromCharCode(...data));
      await session.submit(prompt("a", { blocks: [{ type: "image", mediaType: "image/png", data }] }));
      await session.submit(
        prompt("b", {
          blocks: [
            { type: "image", data: base64 },
            { type: "text", text: "and" },
          ],
        }),
      );
      const a = (await stateOf(kernel, "a")).persistedInput?.blocks as { blob: string }[];
      const b = (await stateOf(kernel, "b")).persistedInput?.blocks as { blob: string }[];
      expect(a).toEqual([{ type: "image", mediaType: "image/png", blob: a[0]?.blob }]);
      expect(b).toEqual([
        { type: "image", blob: a[0]?.blob },
        { type: "text", text: "and" },
      ]);
      expect((await readRows(ground, "blobs")).length).toBe(1);
      const inputs = JSON.stringify(await readRows(ground, "inputs"));
      expect(inputs.includes(base64.slice(0, 40)) || inputs.includes(String([...data.slice(0, 20)]))).toBe(false);
      data.fill(0);
      const again = await (await ground.reopen()).session("s");
      expect([...((await again.blob(a[0]?.blob ?? "")) ?? [])].slice(0, 3)).toEqual([0, 7, 14]);
      for (const bad of ["not base64!", 5, {}, new Uint16Array(2)]) {
        const found = await mismatch(
          again.submit(prompt("x", { blocks: [{ type: "image", data: bad }] })),
          "invalid",
          "input.blocks/0",
        );
        expect(found ?? "as wanted").toBe("as wanted");
      }
    });

    promise("a session that is opened while its last object is left is attended all the same (R-84, R-112)", async (ground) => {
      const { kernel, session } = await opened(ground);
      const [again] = await Promise.all([kernel.session("s"), session[Symbol.asyncDispose]()]);
      expect((await readRows(ground, "attachments")).length).toBe(1);
      await again.submit(prompt("e", { durability: "ephemeral" }));
      await (await ground.open()).session("s");
      expect(await phases(kernel)).toEqual(["e queued"]);
    });

    promise("what is submitted is copied: a caller that changes it later changes nothing", async (ground) => {
      const { kernel, session } = await opened(ground);
      const list = [1];
      const call = session.submit({ inputType: "flow_step", inputId: "a", body: { list } });
      list.push(2);
      await call;
      expect((await stateOf(kernel, "a")).persistedInput?.body).toEqual({ list: [1] });
    });

    promise("an ephemeral input is stored for the other tabs, and gone with its end (R-84)", async (ground) => {
      const { kernel, session } = await running(ground);
      const other = await ground.open();
      await session.submit(prompt("e", { durability: "ephemeral", idempotencyKey: "k" }));
      expect((await stateOf(other, "e")).durability).toBe("ephemeral");
      expect((await session.submit(prompt("f", { idempotencyKey: "k" }))).outcome).toBe("deduplicated");
      runsOf(session);
      await comes(async () => (await phases(kernel)).length === 0, "its end");
      expect(await said(session)).toEqual(["e"]);
      expect((await session.submit(prompt("f", { idempotencyKey: "k" }))).outcome).toBe("accepted");
    });

    promise("accepted is told before queued, and each with the input's id (R-85)", async (ground) => {
      const { session, told } = await opened(ground);
      await session.submit(prompt("a", { idempotencyKey: "k" }));
      await session.submit(prompt("b", { idempotencyKey: "k" }));
      await session.submit({ inputType: "operation", inputId: "o" });
      expect(told).toEqual([
        { sessionId: "s", code: "input.accepted", inputId: "a" },
        { sessionId: "s", code: "input.queued", inputId: "a" },
        { sessionId: "s", code: "input.deduplicated", inputId: "b" },
        { sessionId: "s", code: "input.accepted", inputId: "o" },
        { sessionId: "s", code: "input.consumed", inputId: "o" },
      ]);
    });
  }

  function dedup(): void {
    promise("the same key again is the same input, whatever it carries and whoever submits (R-73)", async (ground) => {
      const { kernel, session } = await opened(ground);
      await session.submit(prompt("a", { idempotencyKey: "k" }));
      const other = await (await ground.open()).session("s");
      const again = { outcome: "deduplicated", inputId: "b", existingId: "a" };
      expect(await other.submit(prompt("b", { idempotencyKey: "k" }))).toEqual(again);
      expect(await session.submit({ inputType: "operation", inputId: "b", idempotencyKey: "k" })).toEqual(again);
      expect(await phases(kernel)).toEqual(["a queued"]);
    });

    promise("of a hundred submissions of one key at once, one is stored and the others name it (R-73)", async (ground) => {
      const { kernel, session } = await opened(ground);
      const other = await (await ground.open()).session("s");
      const calls = count(100).map((n) => (n % 2 ? session : other).submit(prompt(`i${n}`, { idempotencyKey: "k" })));
      const found = await Promise.all(calls);
      const [stored] = await kernel.runtime.loadInputStates(RUNTIME);
      expect((await phases(kernel)).length).toBe(1);
      expect(found.filter(({ outcome }) => outcome === "accepted").map(({ outcome, ...rest }) => rest)).toEqual([
        { inputId: stored?.inputId },
      ]);
      const named = found.flatMap((outcome) => (outcome.outcome === "deduplicated" ? [outcome.existingId] : []));
      expect(named).toEqual(count(99).map(() => stored?.inputId));
    });

    promise("keys are of one session: another one does not know them (R-73)", async ({ kernel }) => {
      const one = await kernel.session("s");
      const other = await kernel.session("t");
      for (const session of [one, other]) {
        expect((await session.submit(prompt("a", { idempotencyKey: "k" }))).outcome).toBe("accepted");
      }
    });

    promise("a key stands for an ended input for 24 hours and is let go after; the input stays (R-74)", async (ground) => {
      const { kernel, session } = await opened(ground);
      await ground.clock.advance(3_000);
      const of = (inputId: string) => session.submit({ inputType: "operation", inputId, idempotencyKey: "k" });
      await of("a");
      await ground.clock.advance(DAY);
      expect(await of("b")).toEqual({ outcome: "deduplicated", inputId: "b", existingId: "a" });
      await ground.clock.advance(1);
      expect(await of("c")).toEqual({ outcome: "accepted", inputId: "c" });
      expect(await phases(kernel)).toEqual(["a consumed", "c consumed"]);
      expect((await stateOf(kernel, "a")).idempotencyKey).toBe("k");
      await ground.clock.advance(DAY);
      expect(await of("d")).toEqual({ outcome: "deduplicated", inputId: "d", existingId: "c" });
    });

    promise("a key of an input that lives is never let go of (R-74)", async (ground) => {
      const { session } = await opened(ground);
      await session.submit(prompt("a", { idempotencyKey: "k" }));
      await ground.clock.advance(400 * DAY);
      await session.submit(prompt("b", { idempotencyKey: "other" }));
      expect(await session.submit(prompt("c", { idempotencyKey: "k" }))).toEqual({
        outcome: "deduplicated",
        inputId: "c",
        existingId: "a",
      });
    });

    promise("time counts from the end of an input, not from its admission (R-74)", async (ground) => {
      const { session } = await opened(ground);
      await session.submit(prompt("a", { idempotencyKey: "k" }));
      await ground.clock.advance(2 * DAY);
      await session.cancel("a");
      await ground.clock.advance(DAY);
      expect((await session.submit(prompt("b", { idempotencyKey: "k" }))).outcome).toBe("deduplicated");
    });

    promise("old keys go when an input with a key comes, and only then (R-74)", async (ground) => {
      const { session } = await opened(ground);
      await session.submit({ inputType: "operation", inputId: "a", idempotencyKey: "old" });
      await ground.clock.advance(DAY + 1);
      const keys = async () => (await readRows(ground, "inputKeys")).map(({ idempotencyKey }) => idempotencyKey);
      await session.submit(prompt("b"));
      expect(await keys()).toEqual(["old"]);
      await session.submit(prompt("c", { idempotencyKey: "new" }));
      expect(await keys()).toEqual(["new"]);
      expect((await readRows(ground, "runtimes")).map(({ endedKeys }) => endedKeys)).toEqual([0]);
    });

    cases.promise("over 4096 keys of ended inputs the oldest go, and no live one (R-74)", async (ground) => {
      const { session } = await opened(ground);
      await session.submit(prompt("live", { idempotencyKey: "live" }));
      await ground.clock.advance(1_000);
      const key = (n: number) => `k${String(n).padStart(5, "0")}`;
      const [runtime] = await readRows(ground, "runtimes");
      const endedAtMs = ground.clock.now();
      await writeRows(
        ground,
        { table: "runtimes", put: { ...runtime, v: 1, endedKeys: 4_097 } },
        ...count(4_097).map((n) => ({
          table: "inputKeys",
          // The oldest is the last by its name.
          put: { v: 1, runtimeId: RUNTIME, idempotencyKey: key(n), inputId: `i${n}`, endedAtMs, endedRank: endedAtMs - n },
        })),
      );
      await session.submit({ inputType: "operation", inputId: "x", idempotencyKey: "x" });
      const kept = new Set((await readRows(ground, "inputKeys")).map(({ idempotencyKey }) => idempotencyKey));
      expect([kept.has(key(4_097)), kept.has(key(4_096)), kept.has(key(1)), kept.has("live"), kept.has("x")]).toEqual([
        false,
        true,
        true,
        true,
        true,
      ]);
      expect(kept.size).toBe(4_098);
      expect((await session.submit(prompt("y", { idempotencyKey: key(4_097) }))).outcome).toBe("accepted");
      expect((await session.submit(prompt("z", { idempotencyKey: "live" }))).outcome).toBe("deduplicated");
    });

    promise(
      "a later start knows the keys of all that is stored, ended ones too, but of no ephemeral one (R-75)",
      async (ground) => {
        const { session } = await opened(ground);
        await session.submit(prompt("a", { idempotencyKey: "live" }));
        await session.submit({ inputType: "operation", inputId: "b", idempotencyKey: "ended" });
        await session.submit(prompt("c", { idempotencyKey: "short", durability: "ephemeral" }));
        await ground.kernel.runtime.persistInputState(RUNTIME, waiting("d", { idempotencyKey: "handed over" }));
        const again = await (await ground.reopen()).session("s");
        const outcomeOf = async (idempotencyKey: string) =>
          (await again.submit(prompt(`new ${idempotencyKey}`, { idempotencyKey }))).outcome;
        expect(await outcomeOf("live")).toBe("deduplicated");
        expect(await outcomeOf("ended")).toBe("deduplicated");
        expect(await outcomeOf("handed over")).toBe("deduplicated");
        expect(await outcomeOf("short")).toBe("accepted");
      },
    );
  }

  function replacement(): void {
    const progress = (inputId: string, more: object = {}): InputSubmission => ({
      ...(SUBMISSIONS.peer_response_progress as object as { inputType: "peer" }),
      inputId,
      supersessionKey: "k",
      ...more,
    });

    promise(
      "the newer progress of one key takes the older one's place, and its payload alone counts (R-77, R-78)",
      async (ground) => {
        const { kernel, session, told } = await opened(ground);
        await session.submit(progress("a", { body: "10 %" }));
        await session.submit(progress("b", { body: "20 %" }));
        await session.submit(progress("c", { body: "30 %" }));
        expect(await phases(kernel)).toEqual(["a coalesced", "b coalesced", "c queued"]);
        expect(await outcomeOf(kernel, "a")).toEqual({ outcomeType: "coalesced", aggregateId: "b" });
        expect(await outcomeOf(kernel, "b")).toEqual({ outcomeType: "coalesced", aggregateId: "c" });
        expect((await stateOf(kernel, "c")).persistedInput?.body).toBe("30 %");
        expect(idsOf(told, "input.coalesced")).toEqual(["a", "b"]);
        const history = (await stateOf(kernel, "a")).history.map(({ from, to }) => [from, to]);
        expect(history).toEqual([
          ["accepted", "queued"],
          ["queued", "coalesced"],
        ]);
      },
    );

    promise("a crash after it brings the replaced one back in no tab (R-79)", async (ground) => {
      const { session } = await opened(ground);
      await session.submit(progress("a"));
      await session.submit(progress("b"));
      const again = await ground.reopen();
      const opening = await again.session("s");
      expect(await phases(again)).toEqual(["a coalesced", "b queued"]);
      expect(opening.recovery?.recovered).toBe(1);
    });

    promise("a supersession key on a prompt does nothing by itself (R-77)", async (ground) => {
      const { kernel, session } = await opened(ground);
      for (const id of ["a", "b"]) await session.submit(prompt(id, { supersessionKey: "k" }));
      for (const id of ["c", "d"]) await session.submit({ inputType: "external_event", inputId: id, supersessionKey: "k" });
      expect(await phases(kernel)).toEqual(["a queued", "b queued", "c queued", "d queued"]);
    });

    promise(
      "a policy that supersedes replaces a waiting input of the same kind and key, and tells (R-77, R-80)",
      async (ground) => {
        const { kernel } = ground;
        const told = events(kernel);
        let queueMode: PolicyDecision["queueMode"] = "supersede";
        const session = await kernel.session("s", { policy: () => ({ ...DECISION, queueMode }) });
        const key = { supersessionKey: "k" };
        queueMode = "fifo";
        await session.submit(prompt("a", key));
        await session.submit(prompt("other key", { supersessionKey: "l" }));
        await session.submit(prompt("no key"));
        await session.submit({ inputType: "external_event", inputId: "other kind", ...key });
        queueMode = "supersede";
        await session.submit(prompt("keyless"));
        expect((await phases(kernel)).filter((line) => !line.endsWith("queued"))).toEqual([]);
        await session.submit(prompt("b", key));
        expect((await phases(kernel)).filter((line) => !line.endsWith("queued"))).toEqual(["a superseded"]);
        expect(await outcomeOf(kernel, "a")).toEqual({ outcomeType: "superseded", supersededBy: "b" });
        expect(idsOf(told, "input.superseded")).toEqual(["a"]);
        for (const mode of ["none", "priority", "fifo"] as const) {
          queueMode = mode;
          await session.submit(prompt(mode, key));
        }
        expect(await phases(kernel)).toEqual([
          "a superseded",
          "b queued",
          ...["fifo queued", "keyless queued", "no key queued", "none queued"],
          ...["other key queued", "other kind queued", "priority queued"],
        ]);
      },
    );

    promise(
      "the first that waits is replaced, the queue before the steer lane, and never one that runs (R-76)",
      async (ground) => {
        const kernel = await ground.open({ loop: "inline" });
        let decision = DECISION;
        const session = await kernel.session("s", { policy: () => decision });
        const key = { supersessionKey: "k" };
        const [begun, leave] = [gate(), gate()];
        const off = session.onTurn(async () => {
          begun.open();
          await leave.promise;
        });
        await session.submit(prompt("running", key));
        await begun.promise;
        decision = { ...DECISION, routingDisposition: "steer" };
        await session.submit(prompt("steer", key));
        decision = DECISION;
        await session.submit(prompt("q1", key));
        await session.submit(prompt("q2", key));
        decision = { ...DECISION, queueMode: "supersede" };
        for (const id of ["n1", "n2", "n3"]) await session.submit(prompt(id, key));
        const replaced = (await kernel.runtime.loadInputStates(RUNTIME)).flatMap(({ inputId, terminalOutcome }) =>
          terminalOutcome?.outcomeType === "superseded" ? [[inputId, terminalOutcome.supersededBy]] : [],
        );
        expect(replaced).toEqual([
          ["n1", "n3"],
          ["q1", "n1"],
          ["q2", "n2"],
        ]);
        expect((await stateOf(kernel, "running")).currentState).toBe("staged");
        leave.open();
        off();
      },
    );

    promise("what was replaced keeps its key: the same again is deduplicated (R-74, R-77)", async (ground) => {
      const { session } = await opened(ground);
      await session.submit(progress("a", { idempotencyKey: "one" }));
      await session.submit(progress("b", { idempotencyKey: "two" }));
      expect(await session.submit(progress("c", { idempotencyKey: "one" }))).toEqual({
        outcome: "deduplicated",
        inputId: "c",
        existingId: "a",
      });
    });
  }

  function commands(): void {
    const STATES = ["idle", "retired", "stopped", "destroyed"] as const;
    type State = (typeof STATES)[number];
    type Name = "retire" | "reset" | "recycle" | "stop" | "destroy";
    const LEADS: Record<Name, Partial<Record<State, RuntimeState>>> = {
      retire: { idle: "retired", retired: "retired" },
      reset: { idle: "idle", retired: "idle" },
      recycle: { idle: "idle", retired: "idle" },
      stop: { idle: "stopped", retired: "stopped", stopped: "stopped" },
      destroy: { idle: "destroyed", retired: "destroyed", stopped: "destroyed" },
    };

    /** A session in that state; it survived a restart of the program where `isLater`. */
    async function inState(ground: Ground, state: State, isLater: boolean) {
      const session = await ground.kernel.session("s");
      if (state === "retired") await session.retire();
      if (state === "stopped") await session.stop();
      if (state === "destroyed") await session.destroy();
      if (!isLater) return { kernel: ground.kernel, session };
      const kernel = await ground.reopen();
      return { kernel, session: await kernel.session("s") };
    }

    for (const state of STATES) {
      for (const name of Object.keys(LEADS) as Name[]) {
        const next = LEADS[name][state];
        const to = next ?? "a refusal";
        promise(`${name} from ${state} gives ${to}, also after a restart (R-117, R-132, R-133, R-134, R-137)`, async (ground) => {
          for (const isLater of [false, true]) {
            const { kernel, session } = await inState(ground, state, isLater);
            expect([session.state, await kernel.runtime.loadRuntimeState(RUNTIME)]).toEqual([state, state]);
            if (next === undefined) await refused(session[name]() as Promise<unknown>, "not-ready", state);
            else await session[name]();
            const now = next ?? state;
            expect([session.state, await kernel.runtime.loadRuntimeState(RUNTIME)]).toEqual([now, now]);
            if (now === "idle") expect((await session.submit(prompt(`a${isLater}`))).outcome).toBe("accepted");
            else await refused(session.submit(prompt("a")), "not-ready", now);
            if (!isLater) await kernel.sessions.delete("s");
          }
        });
      }
    }

    /** One waiting, one that a failed turn left, one ended, and one that only waits for another. */
    async function furnish(session: SessionRuntime): Promise<void> {
      await session.submit(prompt("a", { idempotencyKey: "k" }));
      await session.submit({ inputType: "continuation", inputId: "b" });
      await session.submit({ inputType: "operation", inputId: "done" });
      await session.submit({ ...SUBMISSIONS.peer_response_progress, inputId: "c" } as InputSubmission);
    }

    const ENDS = [
      ["retire", "retired", { abandoned: 3, pendingDrain: 0 }, "R-131"],
      ["reset", "reset", { abandoned: 3 }, "R-132"],
      ["stop", "stopped", undefined, "R-133"],
      ["destroy", "destroyed", { abandoned: 3 }, "R-134"],
    ] as const;
    for (const [name, reason, report, statement] of ENDS) {
      promise(
        `${name} without a turn handler abandons all that lives, with the reason ${reason} (${statement})`,
        async (ground) => {
          const { kernel, session, told } = await opened(ground);
          await furnish(session);
          const by = await (await ground.open()).session("s");
          expect((await by[name]()) as unknown).toEqual(report);
          expect(await phases(kernel)).toEqual(["a abandoned", "b abandoned", "c abandoned", "done consumed"]);
          for (const id of ["a", "b", "c"]) {
            const { terminalOutcome, history } = await stateOf(kernel, id);
            expect(terminalOutcome).toEqual(ABANDONED(reason));
            const last = history.at(-1);
            expect([last?.from, last?.to, last?.reason]).toEqual(["queued", "abandoned", reason]);
          }
          expect(idsOf(told, "input.abandoned")).toEqual([]);
          const state = name === "reset" ? "idle" : reason;
          const again = await ground.reopen();
          expect(await again.runtime.loadRuntimeState(RUNTIME)).toBe(state);
          const later = await again.session("s");
          expect([later.state, later.recovery?.recovered]).toEqual([state, 0]);
          if (state === "idle") {
            expect(await later.submit(prompt("new", { idempotencyKey: "k" }))).toEqual({
              outcome: "deduplicated",
              inputId: "new",
              existingId: "a",
            });
          }
        },
      );
    }

    promise("who abandons tells of each input (R-85, R-133)", async (ground) => {
      const { session, told } = await opened(ground);
      await furnish(session);
      told.splice(0);
      await session.stop();
      expect(idsOf(told, "input.abandoned").sort()).toEqual(["a", "b", "c"]);
      expect(told.filter(({ code }) => code === "runtime.state_changed").map(({ state }) => state)).toEqual(["stopped"]);
    });

    promise("stop again is harmless, and destroy after it ends nothing twice (R-67, R-133, R-134)", async (ground) => {
      const { kernel, session } = await opened(ground);
      await session.submit(prompt("a"));
      await session.stop();
      const before = await stateOf(kernel, "a");
      await session.stop();
      expect(await session.destroy()).toEqual({ abandoned: 0 });
      expect(await stateOf(kernel, "a")).toEqual(before);
    });

    promise("retire leaves what waits where any tab has a turn handler, and that tab runs it (R-130)", async (ground) => {
      const here = await running(ground);
      const { kernel, session } = await opened(ground);
      await session.submit(prompt("a"));
      // It does not begin by itself: nobody told this kernel of it yet.
      const runs = runsOf(here.session);
      await comes(async () => (await readRows(ground, "attachments")).some(({ handler }) => handler === 1), "the attachment");
      await drained(kernel);
      await session.submit(prompt("b"));
      await session.submit({ ...SUBMISSIONS.peer_response_progress, inputId: "c" } as InputSubmission);
      expect(await session.retire()).toEqual({ abandoned: 0, pendingDrain: 2 });
      await refused(session.submit(prompt("late")), "not-ready", "retired");
      await ground.clock.advance(5_000);
      await drained(kernel);
      // What nobody would ever wake is run, too.
      expect(runs).toEqual([["a"], ["c"], ["b"]]);
      expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("retired");
    });

    promise("recycle keeps all that waits and tells how many; it is idle again after a retirement (R-136)", async (ground) => {
      const here = await running(ground);
      const off = here.session.onTurn(async () => {});
      await quiet();
      const { kernel, session } = await opened(ground);
      await furnish(session);
      expect((await session.retire()).pendingDrain).toBe(3);
      expect(await session.recycle()).toEqual({ carriedOver: 3 });
      expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
      expect(await phases(kernel)).toEqual(["a queued", "b queued", "c queued", "done consumed"]);
      expect((await session.submit(prompt("d"))).outcome).toBe("accepted");
      off();
    });

    promise("a session is attached in the tab that has a handler, and stored as idle (R-102)", async (ground) => {
      const { kernel, session } = await running(ground);
      const other = await opened(ground);
      expect(session.state).toBe("idle");
      const off = session.onTurn(async () => {});
      expect([session.state, other.session.state]).toEqual(["attached", "idle"]);
      await session.recycle();
      expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
      await session.submit(prompt("a"));
      await drained(kernel);
      expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
      await comes(() => session.state === "attached", "attached again");
      off();
      expect(session.state).toBe("idle");
      await refused(kernel.runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("attached"), []), "invalid", "attached");
    });

    promise("a deleted session is not found by any command of its old object (R-137)", async (ground) => {
      const { kernel, session } = await opened(ground);
      await session.submit(prompt("a"));
      await kernel.sessions.delete("s");
      const calls = [
        session.submit(prompt("b")),
        session.retire(),
        session.reset(),
        session.recycle(),
        session.stop(),
        session.destroy(),
      ];
      expect((await outcomes<unknown>(calls)).codes).toEqual(calls.map(() => "not-found"));
      await refused(session.cancel("a"), "not-found");
      await refused(session.messages(), "not-found");
      const again = await kernel.session("s");
      expect([again.state, await phases(kernel)]).toEqual(["idle", []]);
    });

    promise("its runtime's state is stored when a session was opened (R-111)", async (ground) => {
      const { kernel } = ground;
      expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe(undefined);
      await kernel.session("s");
      expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
    });

    promise("a stored initializing becomes idle, and a running that nobody runs, too (R-111)", async (ground) => {
      const { kernel } = ground;
      for (const state of ["initializing", "running"] as const) {
        await kernel.runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit(state), []);
        expect((await kernel.session("s")).state).toBe("idle");
        expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
      }
    });
  }

  function recovery(): void {
    const handOver = async (ground: Ground, ...states: StoredInputState[]) => {
      for (const state of states) await ground.kernel.runtime.persistInputState(RUNTIME, state);
    };
    const applied = (inputId: string, more: Partial<StoredInputState> = {}) =>
      waiting(inputId, { currentState: "applied", attemptCount: 1, lastRunId: "run", lastBoundarySequence: 0, ...more });

    promise(
      "applied inputs are consumed where their receipt is stored, and wait again where it is not (R-110)",
      async (ground) => {
        const { kernel } = ground;
        await kernel.runtime.atomicApply(RUNTIME, undefined, receipt(), []);
        await handOver(
          ground,
          applied("a"),
          applied("b", { currentState: "applied_pending_consumption" }),
          applied("c", { lastRunId: "other" }),
          applied("d", { currentState: "applied_pending_consumption", lastBoundarySequence: 1 }),
          applied("e", { lastRunId: undefined } as never),
          applied("f", { lastBoundarySequence: undefined, terminalOutcome: { outcomeType: "consumed" } } as never),
        );
        const session = await kernel.session("s");
        expect(await phases(kernel)).toEqual(["a consumed", "b consumed", "c queued", "d queued", "e queued", "f queued"]);
        expect([await outcomeOf(kernel, "a"), await outcomeOf(kernel, "b")]).toEqual([CONSUMED, CONSUMED]);
        expect(await outcomeOf(kernel, "f")).toBe(undefined);
        const { lastRunId, lastBoundarySequence } = await stateOf(kernel, "d");
        expect([lastRunId, lastBoundarySequence]).toEqual(["run", 1]);
        expect(session.recovery).toEqual({ recovered: 4, requeued: 4, consumed: 2, abandoned: 0, dropped: 0 });
      },
    );

    promise("each of them runs exactly once after it, and what was consumed never (R-110)", async (ground) => {
      await ground.kernel.runtime.atomicApply(RUNTIME, undefined, receipt(), []);
      await handOver(ground, applied("a"), applied("b", { lastRunId: "other" }), waiting("c"));
      const { kernel, session } = await running(ground);
      const runs = runsOf(session);
      await drained(kernel);
      await quiet();
      expect(runs).toEqual([["b"], ["c"]]);
    });

    promise("accepted, queued and staged inputs wait again; ended ones stay as they are (section F)", async (ground) => {
      const { kernel } = ground;
      const ended = [
        waiting("e1", { currentState: "consumed", terminalOutcome: { outcomeType: "consumed" } }),
        waiting("e2", { currentState: "abandoned", terminalOutcome: { outcomeType: "abandoned", reason: "reset" } }),
        waiting("e3", { currentState: "superseded", terminalOutcome: { outcomeType: "superseded", supersededBy: "x" } }),
        waiting("e4", { currentState: "coalesced", terminalOutcome: { outcomeType: "coalesced", aggregateId: "x" } }),
      ];
      const queued = waiting("q", { attemptCount: 2 });
      await handOver(
        ground,
        waiting("a", { currentState: "accepted" }),
        operation("o", { currentState: "accepted" }),
        queued,
        waiting("s", { currentState: "staged", attemptCount: 2, lastRunId: "run" }),
        ...ended,
      );
      const session = await kernel.session("s");
      expect(await phases(kernel)).toEqual([
        "a queued",
        ...["e1 consumed", "e2 abandoned", "e3 superseded", "e4 coalesced"],
        ...["o consumed", "q queued", "s queued"],
      ]);
      expect(await outcomeOf(kernel, "o")).toEqual(CONSUMED);
      for (const state of [...ended, queued]) expect(await stateOf(kernel, state.inputId)).toEqual(state);
      const { attemptCount, lastRunId, recoveryCount } = await stateOf(kernel, "s");
      expect([attemptCount, lastRunId, recoveryCount]).toEqual([2, "run", 1]);
      expect(session.recovery).toEqual({ recovered: 3, requeued: 1, consumed: 1, abandoned: 0, dropped: 0 });
      expect(session.state).toBe("idle");
    });

    promise("what it finds is written back when the session is open, once (R-111)", async (ground) => {
      const { kernel } = ground;
      await handOver(ground, applied("a"), waiting("s", { currentState: "staged", attemptCount: 1 }));
      await kernel.session("s");
      await changesNoRow(ground, async () => {
        const again = await kernel.session("s");
        expect(again.recovery).toEqual({ recovered: 2, requeued: 0, consumed: 0, abandoned: 0, dropped: 0 });
        const other = await (await ground.open()).session("s");
        expect(other.recovery).toEqual({ recovered: 2, requeued: 0, consumed: 0, abandoned: 0, dropped: 0 });
      });
    });

    promise("ephemeral rows of nobody are dropped and counted for nothing (R-112, R-120)", async (ground) => {
      const { kernel } = ground;
      await handOver(
        ground,
        waiting("e", { durability: "ephemeral" }),
        applied("f", { durability: "ephemeral" }),
        waiting("g", { durability: "ephemeral", currentState: "staged", idempotencyKey: "k" }),
        waiting("d"),
      );
      const session = await kernel.session("s");
      expect(session.recovery).toEqual({ recovered: 1, requeued: 0, consumed: 0, abandoned: 0, dropped: 3 });
      expect(await phases(kernel)).toEqual(["d queued"]);
      expect(await readRows(ground, "inputKeys")).toEqual([]);
    });

    promise("a tab's ephemeral inputs live while it has the session open, and go with it (R-112)", async (ground) => {
      const { kernel, session } = await opened(ground);
      await session.submit(prompt("e", { durability: "ephemeral" }));
      await session.submit(prompt("d"));
      const other = await ground.open();
      await other.session("s");
      expect(await phases(other)).toEqual(["d queued", "e queued"]);
      await kernel.close();
      await (await ground.open()).session("s");
      expect(await phases(other)).toEqual(["d queued"]);
    });

    promise("a receipt that does not decode fails the opening: it does not count as missing (R-114, R-118)", async (ground) => {
      const { kernel } = ground;
      await handOver(ground, applied("a"), waiting("b", { currentState: "staged" }));
      const row = { runtimeId: RUNTIME, runId: "run", sequence: 0 };
      for (const [put, code] of [
        [{ ...row, v: 1, receipt: 5 }, "read-failed"],
        [{ ...row, v: 99, receipt: receipt() }, "version"],
      ] as const) {
        await writeRows(ground, { table: "receipts", put });
        await changesNoRow(ground, () => refused(kernel.session("s"), code));
      }
    });

    promise("an ephemeral input of a tab that lives is recovered like any other (R-121)", async (ground) => {
      const { kernel, session } = await opened(ground);
      await session.submit(prompt("e", { durability: "ephemeral" }));
      await abandonedRun(ground, "e", { outOfOrder: true });
      const other = await ground.open();
      const found = await other.session("s");
      expect(found.recovery).toEqual({ recovered: 1, requeued: 1, consumed: 0, abandoned: 0, dropped: 0 });
      const { currentState, recoveryCount, attemptCount } = await stateOf(kernel, "e");
      expect([currentState, recoveryCount, attemptCount]).toEqual(["queued", 1, 1]);
    });

    const BROKEN: [string, Partial<Record<keyof StoredInputState, unknown>>, string][] = [
      ["payload", { persistedInput: undefined }, "has no persisted input"],
      ["policy stamp", { policy: undefined }, "missing runtime admission policy stamp"],
      ["semantics stamp", { runtimeSemantics: undefined }, "missing runtime execution semantics stamp"],
      ["true semantics", { runtimeSemantics: { boundary: "immediate", executionKind: "content_turn" } }, "semantics"],
      ["true execution kind", { runtimeSemantics: { boundary: "run_start", executionKind: "resume_pending" } }, "semantics"],
    ];
    for (const [what, change, fragment] of BROKEN) {
      promise(`a live row without its ${what} fails the opening whole, an ended one does not (R-113, R-114)`, async (ground) => {
        const { kernel } = ground;
        const broken = (inputId: string, more: object) => ({ ...waiting(inputId), ...change, ...more }) as StoredInputState;
        await handOver(
          ground,
          broken("ended", { currentState: "consumed", terminalOutcome: { outcomeType: "consumed" } }),
          applied("a"),
        );
        await kernel.session("s");
        await handOver(ground, applied("a"), broken("bad", {}));
        const fresh = await ground.open();
        await changesNoRow(ground, async () => {
          await refused(fresh.session("s"), "read-failed", "store corruption", "bad", fragment);
        });
      });
    }

    promise("with quarantine the broken rows are set aside and told, and the others go on (R-24, R-113)", async (ground) => {
      const { kernel } = ground;
      await kernel.session("s");
      await handOver(ground, { ...waiting("bad"), policy: undefined } as never, applied("a"), waiting("b"));
      await writeRows(ground, {
        table: "inputs",
        put: { v: 1, runtimeId: RUNTIME, inputId: "worse", liveRank: 5, record: { inputId: "worse", currentState: "no phase" } },
      });
      const fresh = await ground.open();
      const error = await fresh.session("s").catch((thrown: unknown) => thrown);
      expect((error as { code?: unknown }).code).toBe("read-failed");
      const faults: string[] = [];
      fresh.on("fault", ({ message }) => void faults.push(message));
      const session = await fresh.session("s", { quarantine: true });
      expect(session.quarantined.map(({ inputId }) => inputId).sort()).toEqual(["bad", "worse"]);
      expect(session.quarantined.every(({ reason }) => reason.length > 0)).toBe(true);
      expect(faults.length).toBe(2);
      expect(await phases(fresh)).toEqual(["a queued", "b queued"]);
      expect((await readRows(ground, "quarantine")).map(({ inputId }) => inputId)).toEqual(["bad", "worse"]);
      const again = await ground.open();
      expect((await again.session("s")).quarantined).toEqual([]);
    });

    promise("an ended row that does not decode opens, and quarantine sets it aside, too (R-24, R-113)", async (ground) => {
      const { kernel } = ground;
      await kernel.session("s");
      await handOver(ground, waiting("a"));
      await writeRows(ground, { table: "inputs", put: { v: 1, runtimeId: RUNTIME, inputId: "bad", record: { inputId: "bad" } } });
      await refused(kernel.runtime.loadInputStates(RUNTIME), "read-failed", "bad");
      expect((await kernel.session("s")).quarantined).toEqual([]);
      const session = await kernel.session("s", { quarantine: true });
      expect(session.quarantined.map(({ inputId }) => inputId)).toEqual(["bad"]);
      expect(await phases(kernel)).toEqual(["a queued"]);
    });

    promise("the key of an input that was set aside stands for nothing any more (R-24, R-73)", async (ground) => {
      const { kernel } = ground;
      await handOver(ground, { ...waiting("bad", { idempotencyKey: "k" }), policy: undefined } as never);
      const session = await kernel.session("s", { quarantine: true });
      expect(await session.submit(prompt("again", { idempotencyKey: "k" }))).toEqual({ outcome: "accepted", inputId: "again" });
    });

    promise("stopped or destroyed with inputs that live is corruption, and nothing is touched (R-116)", async (ground) => {
      const { kernel } = ground;
      for (const state of ["stopped", "destroyed"] as const) {
        await kernel.runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit(state), [waiting("a"), applied("b")]);
        await changesNoRow(ground, async () => {
          await refused(kernel.session("s"), "read-failed", state, "conflicts with 2 active inputs");
        });
      }
      const ended = { currentState: "consumed", terminalOutcome: { outcomeType: "consumed" } } as const;
      await handOver(ground, waiting("a", ended), waiting("b", ended));
      expect((await kernel.session("s")).state).toBe("destroyed");
    });

    promise("retired survives with what waits (R-117)", async (ground) => {
      const { kernel } = ground;
      await kernel.runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("retired"), [waiting("a"), applied("b")]);
      const session = await kernel.session("s");
      expect([session.state, session.recovery?.recovered]).toEqual(["retired", 2]);
      expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("retired");
      await refused(session.submit(prompt("c")), "not-ready", "retired");
    });

    cases.promise("rows under the bare session id are nobody's, whatever they are (R-119)", async (ground) => {
      const { kernel } = ground;
      await kernel.runtime.commitMachineLifecycle("s", mintLifecycleCommit("destroyed"), [waiting("a")]);
      await writeRows(ground, { table: "inputs", put: { v: 1, runtimeId: "s", inputId: "broken", liveRank: 0, record: 7 } });
      const session = await kernel.session("s");
      expect([session.runtimeId, session.state, session.recovery?.recovered]).toEqual([RUNTIME, "idle", 0]);
      expect(await session.submit(prompt("a"))).toEqual({ outcome: "accepted", inputId: "a" });
      await session.stop();
      expect((await kernel.runtime.loadInputState("s", "a"))?.currentState).toBe("queued");
      expect(await kernel.runtime.loadRuntimeState("s")).toBe("destroyed");
    });

    promise(
      "admitted inputs run in their order after a restart, those that were handed over behind them by id (R-122)",
      async (ground) => {
        const first = await ground.kernel.session("s");
        for (const id of ["z", "m", "a"]) await first.submit(prompt(id));
        await handOver(ground, waiting("k"), waiting("b"));
        await ground.reopen();
        const kernel = await ground.open({ loop: "inline" });
        const session = await kernel.session("s");
        await session.submit(prompt("last"));
        const runs = runsOf(session);
        await drained(kernel);
        expect(runs.flat()).toEqual(["z", "m", "a", "last", "b", "k"]);
      },
    );

    promise("a stage whose lease ran out is a crash, and the fifth in a row is the last (R-94)", async (ground) => {
      const { kernel } = ground;
      const session = await kernel.session("s");
      await session.submit(prompt("a", { idempotencyKey: "k" }));
      for (const crash of count(5)) {
        await abandonedRun(ground, "a", { outOfOrder: true });
        const opened = await (await ground.open()).session("s");
        const { currentState, attemptCount, recoveryCount } = await stateOf(kernel, "a");
        expect([currentState, attemptCount, recoveryCount]).toEqual([crash < 5 ? "queued" : "abandoned", crash, crash]);
        expect(opened.recovery?.abandoned).toBe(crash < 5 ? 0 : 1);
        expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
      }
      expect(await outcomeOf(kernel, "a")).toEqual(ABANDONED({ max_attempts_exhausted: { attempts: 5 } }));
    });

    promise("a stage whose owner ended in order costs nothing, twenty times (R-61, R-94)", async (ground) => {
      const { kernel } = ground;
      const session = await kernel.session("s");
      await session.submit(prompt("a"));
      for (const _ of count(20)) {
        await abandonedRun(ground, "a", { outOfOrder: false });
        await (await ground.open())[Symbol.asyncDispose]();
        await kernel.session("s");
      }
      const { currentState, attemptCount, recoveryCount } = await stateOf(kernel, "a");
      expect([currentState, attemptCount, recoveryCount]).toEqual(["queued", 20, 0]);
    });

    promise("a run that another tab is at is left alone by who opens the session (R-115)", async (ground) => {
      const { kernel } = ground;
      const session = await kernel.session("s");
      await session.submit(prompt("a"));
      await abandonedRun(ground, "a", { outOfOrder: true, isLive: true });
      await changesNoRow(ground, async () => {
        const other = await (await ground.open()).session("s");
        expect([other.recovery ?? "none", other.state]).toEqual(["none", "running"]);
        await refused(other.reset(), "not-ready", "running");
        await refused(other.recycle(), "not-ready", "running");
      });
    });
  }

  /** The rows as an owner leaves them that is gone in the middle of a run, or is at it. */
  async function abandonedRun(
    ground: Ground,
    inputId: string,
    { outOfOrder, isLive = false }: { outOfOrder: boolean; isLive?: boolean },
  ): Promise<void> {
    const of = async (table: string, column: string, value: JsonValue) =>
      (await readRows(ground, table)).find((row) => row[column] === value);
    const input = await of("inputs", "inputId", inputId);
    const record = input?.record as StoredInputState;
    const lease = await of("leases", "resource", RUNTIME);
    const fencingToken = Number(lease?.fencingToken ?? 0) + 1;
    const held = outOfOrder ? { ownerId: "gone", leaseToken: `t.${fencingToken}` } : { endedInOrder: 1 };
    const now = ground.clock.now();
    await writeRows(
      ground,
      {
        table: "runtimes",
        put: {
          ...(await of("runtimes", "runtimeId", RUNTIME)),
          v: 1,
          state: "running",
          run: { runId: "run", before: "idle", inputIds: [inputId], workId: "work" },
        },
      },
      {
        table: "inputs",
        put: placed({
          ...(input as InputRow),
          workId: "work",
          workSize: 1,
          record: {
            ...record,
            currentState: "staged",
            attemptCount: record.attemptCount + 1,
            lastRunId: "run",
            history: [...record.history, { timestampMs: ground.clock.now(), from: "queued", to: "staged" }],
          },
        }),
      },
      {
        table: "leases",
        put: {
          v: 1,
          resource: RUNTIME,
          fencingToken,
          claimedAtMs: now,
          expiresAtMs: isLive ? now + 30_000 : outOfOrder ? now : 0,
          fruitless: 0,
          ...held,
        },
      },
    );
  }
}
