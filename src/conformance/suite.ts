import { createKernel } from "../platform.js";
import type { KernelStorage } from "../ports/storage.js";
import { lifecycleCases } from "./host/lifecycle.cases.js";
import { livenessCases } from "./host/liveness.cases.js";
import { type OpenFixture, type Runner, task, uniqueName } from "./kit/fixture.js";
import { durabilityCases } from "./process/durability.cases.js";
import { eventCases } from "./process/events.cases.js";
import { handleCases } from "./process/handles.cases.js";
import { inputCases } from "./process/input.cases.js";
import { leaseCases } from "./process/leases.cases.js";
import { processCases } from "./process/processes.cases.js";
import { schemaCases } from "./process/schemas.cases.js";
import { selectorCases } from "./process/selectors.cases.js";
import { terminalCases } from "./process/terminals.cases.js";
import { waitCases } from "./process/waits.cases.js";
import { wakeCases } from "./process/wakes.cases.js";
import { opsCases } from "./session/ops.cases.js";
import { runtimeCases } from "./session/runtime.cases.js";
import { runtimeInputCases } from "./session/runtime-input.cases.js";
import { sessionInputCases } from "./session/session-inputs.cases.js";
import { sessionTurnCases } from "./session/session-turns.cases.js";
import { sessionCases } from "./session/sessions.cases.js";
import { queryCases } from "./storage/queries.cases.js";
import { storageCases } from "./storage/storage.cases.js";
import { authCases } from "./vault/auth.cases.js";
import { secretCases } from "./vault/secrets.cases.js";

export type { OpenFixture, Runner } from "./kit/fixture.js";

const SUITES = {
  storage: storageCases,
  queries: queryCases,
  processes: processCases,
  handles: handleCases,
  events: eventCases,
  terminals: terminalCases,
  wakes: wakeCases,
  waits: waitCases,
  selectors: selectorCases,
  schemas: schemaCases,
  leases: leaseCases,
  lifecycle: lifecycleCases,
  liveness: livenessCases,
  durability: durabilityCases,
  input: inputCases,
  runtime: runtimeCases,
  "runtime input": runtimeInputCases,
  auth: authCases,
  secrets: secretCases,
  ops: opsCases,
  sessions: sessionCases,
  "session inputs": sessionInputCases,
  "session turns": sessionTurnCases,
} as const satisfies Record<string, (open: OpenFixture, runner: Runner) => void>;

/**
 * The whole contract of holdfast's stores as cases for any storage and any test runner. `open` gives each case a fresh, empty
 * place. Numbers like P-45 in a case's name are the statements of the contract that it checks.
 */
export function describeConformance(name: string, open: OpenFixture, runner: Runner): void {
  runner.describe(`${name} keeps the contract`, () => {
    runner.describe("places", () => {
      runner.it("each opened place is empty, also under a name that was used before, and reopens with what it held", async () => {
        const options = { name: uniqueName(), loop: "off", channel: false, locks: false } as const;
        for (const id of ["first", "second"]) {
          const place = await open();
          try {
            const list = async (storage: KernelStorage, id?: string) => {
              const kernel = await createKernel({ ...options, storage });
              try {
                if (id !== undefined) await kernel.processes.registerProcess(task(id));
                return (await kernel.processes.list()).map((record) => record.id);
              } finally {
                await kernel.close();
              }
            };
            runner.expect(await list(place.storage)).toEqual([]);
            runner.expect(await list(place.storage, id)).toEqual([id]);
            runner.expect(await list(await place.reopen())).toEqual([id]);
          } finally {
            await place.dispose();
          }
        }
      });
    });
    for (const [area, cases] of Object.entries(SUITES)) runner.describe(area, () => cases(open, runner));
  });
}
