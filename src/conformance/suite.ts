import { lifecycleCases } from "./host/lifecycle.cases.js";
import { livenessCases } from "./host/liveness.cases.js";
import type { OpenFixture, Runner } from "./kit/fixture.js";
import { runEndCases } from "./process/chances/ends.cases.js";
import { restartCases } from "./process/chances/restarts.cases.js";
import { retryCases } from "./process/chances/retries.cases.js";
import { definitionCases } from "./process/definitions.cases.js";
import { durabilityCases } from "./process/durability.cases.js";
import { endingCases } from "./process/endings.cases.js";
import { eventCases } from "./process/events.cases.js";
import { handleCases } from "./process/handles.cases.js";
import { inputCases } from "./process/input.cases.js";
import { leaseCases } from "./process/leases.cases.js";
import { limitCases } from "./process/limits/limits.cases.js";
import { laterStartCases } from "./process/parking/starts.cases.js";
import { suspensionCases } from "./process/parking/suspension.cases.js";
import { processCases } from "./process/processes.cases.js";
import { scheduleCases } from "./process/schedules/schedules.cases.js";
import { schemaCases } from "./process/schemas.cases.js";
import { selectorCases } from "./process/selectors.cases.js";
import { stepAllCases } from "./process/steps/all.cases.js";
import { stepOptionCases } from "./process/steps/options.cases.js";
import { stepRetryCases } from "./process/steps/retries.cases.js";
import { terminalCases } from "./process/terminals.cases.js";
import { valueCases } from "./process/values.cases.js";
import { olderRegistrationCases } from "./process/waits/older-registrations.cases.js";
import { signalSchemaCases } from "./process/waits/signal-schemas.cases.js";
import { signalWaitCases } from "./process/waits/signal-waits.cases.js";
import { signalCases } from "./process/waits/signals.cases.js";
import { timerCases } from "./process/waits/timers.cases.js";
import { waitCases } from "./process/waits.cases.js";
import { wakeCases } from "./process/wakes.cases.js";
import { deletionCases } from "./session/archive/deletion.cases.js";
import { importCheckCases } from "./session/archive/import-checks.cases.js";
import { sessionListCases } from "./session/archive/list.cases.js";
import { transferCases } from "./session/archive/transfer.cases.js";
import { admissionCases } from "./session/inputs/admission.cases.js";
import { sessionArgumentCases } from "./session/inputs/arguments.cases.js";
import { sessionCommandCases } from "./session/inputs/commands.cases.js";
import { dedupCases } from "./session/inputs/dedup.cases.js";
import { ephemeralCases } from "./session/inputs/ephemeral.cases.js";
import { inputOrderCases } from "./session/inputs/order.cases.js";
import { quarantineCases } from "./session/inputs/quarantine.cases.js";
import { inputReadCases } from "./session/inputs/reads.cases.js";
import { recoveryCases } from "./session/inputs/recovery.cases.js";
import { inputRefusalCases } from "./session/inputs/refusals.cases.js";
import { supersessionCases } from "./session/inputs/supersession.cases.js";
import { opsCases } from "./session/ops.cases.js";
import { runtimeArgumentCases } from "./session/runtime-store/arguments.cases.js";
import { runtimeCommitCases } from "./session/runtime-store/commits.cases.js";
import { inputRowCases } from "./session/runtime-store/input-rows.cases.js";
import { runtimeIsolationCases } from "./session/runtime-store/isolation.cases.js";
import { snapshotCases } from "./session/runtime-store/snapshots.cases.js";
import { attendanceCases } from "./session/turns/attendance.cases.js";
import { batchingCases } from "./session/turns/batching.cases.js";
import { turnCancelCases } from "./session/turns/cancel.cases.js";
import { checkpointCases } from "./session/turns/checkpoints.cases.js";
import { turnCommandCases } from "./session/turns/commands.cases.js";
import { turnCommitCases } from "./session/turns/commits.cases.js";
import { turnEndingCases } from "./session/turns/endings.cases.js";
import { turnFailureCases } from "./session/turns/failures.cases.js";
import { turnFencingCases } from "./session/turns/fencing.cases.js";
import { turnHandlerCases } from "./session/turns/handlers.cases.js";
import { turnPauseCases } from "./session/turns/pauses.cases.js";
import { processTurnCases } from "./session/turns/process-turns.cases.js";
import { turnSnapshotCases } from "./session/turns/snapshots.cases.js";
import { turnStepCases } from "./session/turns/steps.cases.js";
import { unknownMemberCases } from "./session/unknown-members.cases.js";
import { sessionValueCases } from "./session/values.cases.js";
import { viewCases } from "./session/view/views.cases.js";
import { placeCases } from "./storage/places.cases.js";
import { queryCases } from "./storage/queries.cases.js";
import { storageCases } from "./storage/storage.cases.js";
import { browserLoginCases } from "./vault/browser-logins.cases.js";
import { deviceLoginCases } from "./vault/device-logins.cases.js";
import { flowRecordCases } from "./vault/flow-record.cases.js";
import { loginFlowCases } from "./vault/flows.cases.js";
import { loginArgumentCases } from "./vault/login-arguments.cases.js";
import { secretCases } from "./vault/secrets.cases.js";

export type { OpenFixture, Runner } from "./kit/fixture.js";

type Areas = Readonly<Record<string, readonly ((open: OpenFixture, runner: Runner) => void)[]>>;

const STORAGE_AREAS: Areas = {
  places: [placeCases],
  storage: [storageCases],
  queries: [queryCases],
};

const KERNEL_AREAS: Areas = {
  processes: [processCases],
  definitions: [definitionCases],
  steps: [stepRetryCases, stepOptionCases, stepAllCases],
  handles: [handleCases],
  events: [eventCases],
  terminals: [terminalCases, endingCases],
  chances: [retryCases, runEndCases, restartCases],
  wakes: [wakeCases],
  waits: [waitCases],
  parking: [laterStartCases, suspensionCases],
  limits: [limitCases],
  timers: [timerCases],
  signals: [signalCases, signalWaitCases, signalSchemaCases, olderRegistrationCases],
  selectors: [selectorCases],
  schemas: [schemaCases],
  leases: [leaseCases],
  schedules: [scheduleCases],
  lifecycle: [lifecycleCases],
  liveness: [livenessCases],
  durability: [durabilityCases],
  input: [inputCases, valueCases, unknownMemberCases],
  runtime: [runtimeIsolationCases, snapshotCases, runtimeCommitCases, inputRowCases],
  "runtime input": [runtimeArgumentCases],
  auth: [flowRecordCases, browserLoginCases, deviceLoginCases, loginFlowCases, loginArgumentCases],
  secrets: [secretCases],
  ops: [opsCases],
  sessions: [sessionListCases, transferCases, importCheckCases, deletionCases],
  "session inputs": [
    sessionArgumentCases,
    admissionCases,
    inputRefusalCases,
    inputOrderCases,
    dedupCases,
    inputReadCases,
    supersessionCases,
    ephemeralCases,
    sessionCommandCases,
    recoveryCases,
    quarantineCases,
    sessionValueCases,
  ],
  "session turns": [
    turnHandlerCases,
    turnCommitCases,
    checkpointCases,
    turnSnapshotCases,
    turnFencingCases,
    batchingCases,
    turnFailureCases,
    turnPauseCases,
    turnCancelCases,
    turnStepCases,
    turnEndingCases,
    turnCommandCases,
    processTurnCases,
    attendanceCases,
  ],
  views: [viewCases],
};

function describeAreas(areas: Areas, open: OpenFixture, runner: Runner): void {
  for (const [area, suites] of Object.entries(areas)) {
    runner.describe(area, () => {
      for (const cases of suites) cases(open, runner);
    });
  }
}

/**
 * Describes the cases of the storage port: opening, rows, transactions, queries, upgrades, over tables of the kit's own. No
 * kernel is opened. Begin with it when you write a storage: `describeStorage("my storage", open, { describe, it, expect })`.
 */
export function describeStorage(name: string, open: OpenFixture, runner: Runner): void {
  runner.describe(`${name} keeps the contract of a storage`, () => describeAreas(STORAGE_AREAS, open, runner));
}

/**
 * Describes the cases of a kernel on a storage that passes `describeStorage`: processes, leases, agents, sessions, secrets,
 * logins. `describeKernel("my storage", open, { describe, it, expect })`. A number like P-45 in a case's name is the statement of
 * the contract (docs/contract.md) that the case checks.
 */
export function describeKernel(name: string, open: OpenFixture, runner: Runner): void {
  runner.describe(`a kernel on ${name} keeps the contract`, () => describeAreas(KERNEL_AREAS, open, runner));
}

/** Describes both, for any storage and any test runner: `describeConformance("my storage", open, { describe, it, expect })`. */
export function describeConformance(name: string, open: OpenFixture, runner: Runner): void {
  runner.describe(`${name} keeps the contract`, () => describeAreas({ ...STORAGE_AREAS, ...KERNEL_AREAS }, open, runner));
}
