import { INPUT_KINDS, type InputKind } from "../../../domain/session/input.js";
import { builtInPolicy, semanticsOf } from "../../../stores/session/inputs/policy.rules.js";
import type { InputSubmission } from "../../../stores/session/inputs/submission.js";
import { type OpenFixture, type Runner, refusalMismatch } from "../../kit/fixture.js";
import { readRows } from "../../kit/rows.fixture.js";
import {
  CONSUMED,
  gate,
  prompt,
  quiet,
  runsOf,
  SUBMISSIONS,
  said,
  sessionCasesOn,
  stateOf,
  withoutTurns,
  withTurns,
} from "../session.fixture.js";

/** Accepted inputs: their stored rows and their events. */
export function admissionCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  promise("an accepted input can be read with all its stamps, in any tab, when the call resolves (R-81)", async (setup) => {
    const { session } = await withoutTurns(setup);
    const other = await setup.open();
    const given = prompt("a", { idempotencyKey: "k", correlationId: "c", extra: { deep: [1, "ü"] } });
    expect(await session.submit(given)).toEqual({ outcome: "accepted", inputId: "a" });
    const decision = builtInPolicy({ kind: "prompt", idle: true });
    const { history, ...stored } = await stateOf(other, "a");
    const now = setup.clock.now();
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
    const again = await setup.reopen();
    expect(await stateOf(again, "a")).toEqual({ ...stored, history });
  });

  promise("an input is queued the moment it is admitted, of whatever kind; its history says so (R-60, R-66)", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
    for (const kind of INPUT_KINDS) await session.submit({ ...SUBMISSIONS[kind], inputId: kind } as InputSubmission);
    for (const kind of INPUT_KINDS) {
      const { currentState, history } = await stateOf(kernel, kind);
      expect(currentState).toBe(kind === "operation" ? "consumed" : "queued");
      expect(history.map(({ from, to, timestampMs }) => [from, to, timestampMs])).toEqual([
        ["accepted", currentState, setup.clock.now()],
      ]);
      expect(history.every(({ reason = "" }) => reason.length > 0)).toBe(true);
    }
  });

  promise("the policy of the built-in table is stamped, by kind and by whether it is idle (R-87)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
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

  promise("a submission chooses its lane itself, but never that of a progress response (R-72, R-87)", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
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

  promise("an operation is consumed where it is accepted: outcome and phase are stored, nothing runs (R-65)", async (setup) => {
    const { kernel, session, told } = await withTurns(setup);
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
  });

  promise("images are stored as blobs, once, and no inline byte of them in the input (R-83)", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
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
    expect((await readRows(setup, "blobs")).length).toBe(1);
    const inputs = JSON.stringify(await readRows(setup, "inputs"));
    expect(inputs.includes(base64.slice(0, 40)) || inputs.includes(String([...data.slice(0, 20)]))).toBe(false);
    data.fill(0);
    const again = await (await setup.reopen()).session("s");
    expect([...((await again.blob(a[0]?.blob ?? "")) ?? [])].slice(0, 3)).toEqual([0, 7, 14]);
    for (const bad of ["not base64!", 5, {}, new Uint16Array(2)]) {
      const found = await refusalMismatch(
        again.submit(prompt("x", { blocks: [{ type: "image", data: bad }] })),
        "invalid",
        "input.blocks/0",
      );
      expect(found ?? "as wanted").toBe("as wanted");
    }
  });

  promise("what is submitted is copied: a caller that changes it later changes nothing", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
    const list = [1];
    const call = session.submit({ inputType: "flow_step", inputId: "a", body: { list } });
    list.push(2);
    await call;
    expect((await stateOf(kernel, "a")).persistedInput?.body).toEqual({ list: [1] });
  });

  promise("accepted is told before queued, and each with the input's id (R-85)", async (setup) => {
    const { session, told } = await withoutTurns(setup);
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
